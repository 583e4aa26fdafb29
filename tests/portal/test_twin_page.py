"""The page of a subscription's paper twin: run it, compare, download, stop it."""

import csv
import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from brokers.paper.models import PaperAccount
from common.clocks import MarketClock, market_now, set_market_clock
from connections.models import ExecutionConnection, Subscription, SubscriptionTwin
from execution.models import Order
from positions.models import ExecutionPosition
from signals.models import Signal
from tests.connections import make
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import World
from users.tenancy import for_all_tenants

pytestmark = pytest.mark.django_db


@pytest.fixture
def live(world: World) -> Subscription:
    return world.subscriptions[0]


@pytest.fixture
def alice(signed_in: SignedIn, world: World, enqueued: list[Any], as_web: None) -> Client:
    return signed_in(world.alice)


def address(of: Subscription, name: str = "subscription_twin") -> str:
    return reverse(f"portal:{name}", args=[of.pk])


def started(alice: Client, live: Subscription) -> SubscriptionTwin:
    answer = alice.post(address(live, "subscription_twin_start"))
    assert (answer.status_code, answer["Location"]) == (302, address(live))
    with for_all_tenants():
        return SubscriptionTwin.objects.select_related("connection").get(subscription=live)


def test_tenant_runs_a_twin_by_one_click(
    alice: Client, live: Subscription, enqueued: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    before = html_of(alice.get(address(live)))
    assert "with its last equity: 9,877.80 USD" in " ".join(before.split())
    with django_capture_on_commit_callbacks(execute=True):
        twin = started(alice, live)
    assert enqueued == [twin.connection_id]
    with for_all_tenants():
        account = PaperAccount.objects.get(number=twin.connection.account)
    assert account.balance == D("9877.80")
    shown = html_of(alice.get(address(live)))
    assert "No signal since" in shown
    assert "Stop the twin…" in shown
    assert "Run another one" not in shown
    again = html_of(alice.post(address(live, "subscription_twin_start"), follow=True))
    assert "Its paper twin runs already." in again


def test_times_of_a_twin_are_those_of_the_replayed_market(
    alice: Client, live: Subscription
) -> None:
    noon = datetime(2099, 5, 2, 12, tzinfo=UTC)  # after all signals
    set_market_clock(MarketClock(noon, datetime.now(UTC), 1))
    try:
        started(alice, live)
        shown = html_of(alice.get(address(live)))
    finally:
        set_market_clock(None)
    assert "No signal since 2 May 2099 12:" in shown


def test_twin_is_labelled_and_stays_out_of_choices_and_sums(
    alice: Client, live: Subscription
) -> None:
    overview = html_of(alice.get(reverse("portal:overview")))
    twin = started(alice, live)
    name = twin.connection.name
    accounts = html_of(alice.get(reverse("portal:accounts")))
    own_page = reverse("portal:account", args=[twin.connection_id])
    assert 'fc-tag">paper' in accounts.split(own_page)[1].split("</tr>")[0]
    own = html_of(alice.get(own_page))
    assert "This is a paper twin" in own
    assert address(live) in own
    feeds = html_of(alice.get(reverse("portal:feeds")))
    assert name not in feeds
    assert "a paper twin runs beside it" in feeds
    after = html_of(alice.get(reverse("portal:overview")))
    assert overview.count("Today, USD") == after.count("Today, USD")
    with for_all_tenants():
        pk = twin.twin_id
    assert alice.get(reverse("portal:subscription_edit", args=[pk])).status_code == 404


def test_comparison_and_its_csv(alice: Client, live: Subscription) -> None:
    twin = started(alice, live)
    with for_all_tenants():
        _trade(twin, D("1.1000"), D("1.1051"), 10_000, twin.connection)
        _trade(twin, D("1.1002"), D("1.1050"), 20_000, live.connection)
    shown = " ".join(html_of(alice.get(address(live))).split())
    for text in ("+96.00", "+51.00", "+45.00", "−2.00", "−1.00", "+48.00", "Each signal"):
        assert text in shown, text
    answer: Any = alice.get(address(live, "subscription_twin_csv"))
    text = b"".join(answer.streaming_content).decode("utf-8-sig")
    (line,) = csv.DictReader(io.StringIO(text))
    assert (line["live_net"], line["twin_net"], line["difference"]) == ("96", "51", "45")


@pytest.fixture
def second_desk(world: World) -> ExecutionConnection:
    return make.connection(world.alice, name="Second desk")


def test_account_of_the_route_that_took_a_signal_is_named(
    second_desk: ExecutionConnection, alice: Client, live: Subscription
) -> None:
    twin = started(alice, live)
    with for_all_tenants():
        _trade(twin, D("1.1000"), D("1.1051"), 10_000, twin.connection)
        _trade(twin, D("1.1002"), D("1.1050"), 20_000, second_desk)
        Order.objects.filter(connection=second_desk).update(
            routed_from=live.connection, route_state="HERE"
        )
    shown = " ".join(html_of(alice.get(address(live))).split())
    assert "Second desk" in shown
    assert "+96.00" in shown
    answer: Any = alice.get(address(live, "subscription_twin_csv"))
    text = b"".join(answer.streaming_content).decode("utf-8-sig")
    (line,) = csv.DictReader(io.StringIO(text))
    assert (line["live_account"], line["live_net"]) == ("Second desk", "96")


def _trade(
    twin: SubscriptionTwin, entry: D, leave: D, quantity: int, row: ExecutionConnection
) -> None:
    now = market_now()
    signal, _ = Signal.objects.get_or_create(
        feed=twin.subscription.feed, currency_pair="EUR/USD", direction="BUY", approval="APPROVED",
        trade_plan_id="compared", defaults={"published_at": now + timedelta(seconds=1)},
    )  # fmt: skip
    Order.objects.create(
        connection=row, signal=signal, leg="entry", pair="EUR/USD", side="BUY", status="FILLED",
        order_type="MARKET", time_in_force="GTC", quantity=quantity, filled_quantity=quantity,
        avg_fill_price=entry, client_order_id=f"compared-{quantity}",
    )  # fmt: skip
    ExecutionPosition.objects.create(
        connection=row, signal=signal, pair="EUR/USD", symbol="EURUSD", side="BUY", quantity=0,
        opened_quantity=quantity, entry_price=entry, pip=D("0.0001"), conversion_rate=1,
        realized_pnl=(leave - entry) * quantity, opened_at=now, closed_at=now,
    )  # fmt: skip


def test_stopping_asks_first(alice: Client, live: Subscription) -> None:
    twin = started(alice, live)
    assert "Stop the paper twin?" in html_of(alice.get(address(live, "subscription_twin_stop")))
    alice.post(address(live, "subscription_twin_stop"))
    with for_all_tenants():
        twin.refresh_from_db()
    assert twin.end_reason == "STOPPED"
    shown = html_of(alice.get(address(live)))
    assert "You stopped it" in shown
    assert "Run another one" in shown


def test_history_stays_after_the_live_subscription_has_ended(
    alice: Client, live: Subscription
) -> None:
    started(alice, live)
    alice.post(reverse("portal:subscription_end", args=[live.pk]))
    shown = html_of(alice.get(address(live)))
    assert "The live subscription ended" in shown
    assert "Run a paper twin" not in shown


def test_paper_account_has_no_twin(alice: Client, world: World) -> None:
    paper = world.subscriptions[2]
    assert "This is a paper account already" in html_of(alice.get(address(paper)))
    refused = html_of(alice.post(address(paper, "subscription_twin_start"), follow=True))
    assert "TWIN_NOT_POSSIBLE" in refused


def test_another_tenant_finds_nothing(
    signed_in: SignedIn, world: World, live: Subscription, alice: Client
) -> None:
    started(alice, live)
    bob = signed_in(world.bob)
    for name in ("", "_start", "_stop", "_csv"):
        found = address(live, f"subscription_twin{name}")
        assert [bob.get(found).status_code, bob.post(found).status_code] == [404, 404]
    with for_all_tenants():
        assert SubscriptionTwin.objects.get(subscription=live).ended_at is None
