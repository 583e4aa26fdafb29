"""The page of a preflight: ask, follow, read the result, go on to subscribe."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from analytics.models import Preflight
from analytics.preflight import jobs
from common.clocks import market_now
from connections.models import ExecutionConnection
from execution.models import Order
from prices.models import PriceBar
from prices.selectors import minute_of
from signals.models import Approval, Feed, Signal
from tests.execution import factories
from tests.portal.conftest import SignedIn
from tests.portal.factories import World
from users.tenancy import for_all_tenants

pytestmark = pytest.mark.django_db
D = Decimal


@pytest.fixture
def alice(signed_in: SignedIn, world: World) -> Client:
    return signed_in(world.alice)


def page(world: World) -> str:
    return f"{reverse('portal:preflight', args=[world.carry.slug])}?account={world.mt5.pk}"


def asked(alice: Client, world: World, **choices: str) -> None:
    values = {
        "account": str(world.mt5.pk), "multiplier": "1", "directions": "BOTH", "signals": "50",
    } | choices  # fmt: skip
    answer = alice.post(page(world), values)
    assert (answer.status_code, answer["Location"]) == (302, page(world))


def published(world: World) -> None:
    """Two buys of half an hour ago with prices of then; the stop of one is too near to matter."""
    factories.instrument("EUR/USD", book=world.mt5.instrument_book)
    at = market_now() - timedelta(minutes=30)
    for back in range(28, 34):
        minute = minute_of(market_now()) - timedelta(minutes=back)
        PriceBar.objects.create(
            data_connection_id=world.mt5.data_connection_id or 0, symbol="EUR/USD", minute=minute,
            **{f"bid_{name}": D("1.38") for name in ("open", "high", "low", "close")},
            **{f"ask_{name}": D("1.3801") for name in ("open", "high", "low", "close")},
            spread_sum=D("0.0001"), quote_count=1, first_at=minute, last_at=minute,
        )  # fmt: skip
    for stop in (D("1.37"), None):
        Signal.objects.create(
            feed=world.carry, published_at=at, currency_pair="EUR/USD", direction="BUY",
            approval=Approval.APPROVED, sl=stop,
        )  # fmt: skip


def test_tenant_runs_a_preflight_and_reads_it(alice: Client, world: World) -> None:
    with for_all_tenants():
        ExecutionConnection.objects.filter(pk=world.mt5.pk).update(instrument_book="book")
        world.mt5.refresh_from_db()
        published(world)
        Feed.objects.filter(pk=world.carry.pk).update(owner=world.alice)  # sees what is new there
    before = alice.get(page(world)).content.decode()
    assert "Not run yet" in before
    asked(alice, world)
    waiting = alice.get(page(world)).content.decode()
    assert 'hx-trigger="every 1s"' in waiting
    assert "<progress" in waiting
    with for_all_tenants():
        assert jobs.run_next()
        assert not Order.objects.filter(signal__feed=world.carry, connection=world.mt5).exists()
    shown = alice.get(page(world)).content.decode()
    assert "1 + 1 denied + 1 not replayed" in shown  # no price of then is kept of the kiwi
    assert "STOP_REQUIRED" in shown
    assert "What this does not cover" in shown
    assert "recorded prices of this account’s source (2)" in shown
    assert "hx-trigger" not in shown.split('id="preflight"')[1].split(">")[0]
    assert "9,780 → 9,780" in shown  # 1 % of 9,877.80 over 101 pips
    assert "−0.98" in shown  # still open, at the bid
    link = f"{reverse('portal:subscribe', args=[world.carry.slug])}?account={world.mt5.pk}"
    assert link.replace("&", "&amp;") in shown


def test_part_that_follows_the_progress_is_a_part(alice: Client, world: World) -> None:
    asked(alice, world)
    part = alice.get(page(world), headers={"HX-Request": "true"}).content.decode()
    assert part.lstrip().startswith("<div")
    assert "<html" not in part


def test_invalid_choices_are_shown_at_their_fields(alice: Client, world: World) -> None:
    answer = alice.post(
        page(world), {"account": str(world.mt5.pk), "multiplier": "0", "directions": "BOTH",
                      "signals": "5000"},
    )  # fmt: skip
    assert answer.status_code == 422
    assert not Preflight.objects.exists()


def test_another_tenants_account_and_preflight_are_not_reached(
    alice: Client, signed_in: SignedIn, world: World
) -> None:
    asked(alice, world)
    bob = signed_in(world.bob)
    shown = bob.get(page(world)).content.decode()
    assert str(world.mt5.pk) not in shown
    answer = bob.post(
        page(world), {"account": str(world.mt5.pk), "multiplier": "1", "directions": "BOTH",
                      "signals": "5"},
    )  # fmt: skip
    assert answer.status_code == 422


def test_page_needs_few_queries(alice: Client, world: World) -> None:
    with for_all_tenants():
        ExecutionConnection.objects.filter(pk=world.mt5.pk).update(instrument_book="book")
        world.mt5.refresh_from_db()
        published(world)
    asked(alice, world)
    with for_all_tenants():
        jobs.run_next()
    with CaptureQueriesContext(connection) as queries:
        alice.get(page(world))
    own = [q for q in queries.captured_queries if "preflight" in q["sql"] or "subscri" in q["sql"]]
    assert len(own) <= 6, [q["sql"][:90] for q in own]


def test_subscribing_takes_the_choices_over(alice: Client, world: World) -> None:
    address = reverse("portal:subscribe", args=[world.carry.slug])
    shown = alice.get(f"{address}?account={world.mt5.pk}&multiplier=0.25&directions=SELL")
    assert 'value="0.25"' in shown.content.decode()
