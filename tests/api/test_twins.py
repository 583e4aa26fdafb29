"""Paper twins over the API: run, compare, download, stop; who may, and who finds nothing."""

import csv
import io
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from rest_framework.test import APIClient

from analytics.compare import api as api_twins
from common.clocks import market_now
from connections.models import AccountSnapshot, ConnectionLock, DataConnection, Subscription
from execution.models import Order
from signals.models import Signal
from tests.api.conftest import AsWeb
from tests.api.factories import World
from tests.connections import make
from users.tenancy import for_all_tenants

pytestmark = pytest.mark.django_db


@pytest.fixture
def live(world: World, settings: Any) -> Subscription:
    """A live account of Alice's that takes the public feed."""
    DataConnection.objects.create(name="Recorded quotes")
    row = make.connection(world.connection.user, type="mt5", preset=world.preset)
    assert ConnectionLock.objects.filter(connection=row).exists()
    AccountSnapshot.objects.create(
        connection=row, currency="USD", balance=D(5000), equity=D("5000.55"), margin_used=D(0),
        free_margin=D(5000), leverage=D(30), position_mode="HEDGING", read_at=market_now(),
    )  # fmt: skip
    return make.subscription(row, world.public)


@pytest.fixture
def alice(world: World, live: Subscription, as_web: AsWeb) -> Iterator[APIClient]:
    """Her requests run under the web process's role: row-level security applies."""
    with as_web():
        yield world.client("alice")


def path(live: Subscription, name: str) -> str:
    return f"/api/v1/subscriptions/{live.pk}/{name}/"


def test_twin_is_run_once_compared_and_stopped(alice: APIClient, live: Subscription) -> None:
    assert alice.get(path(live, "comparison")).status_code == 404
    first = alice.post(path(live, "twin"))
    assert first.status_code == 201
    assert (first.json()["opening_balance"], first.json()["currency"]) == ("5000.55", "USD")
    assert first.json()["ended_at"] is None
    again = alice.post(path(live, "twin"))
    assert (again.status_code, again.json()) == (200, first.json())
    empty = alice.get(path(live, "comparison")).json()
    assert (empty["difference"], empty["signals"], empty["next_before"]) == ("0", [], None)
    stopped = alice.post(path(live, "stop-twin"))
    assert (stopped.status_code, stopped.json()["end_reason"]) == (200, "STOPPED")
    assert alice.post(path(live, "stop-twin")).status_code == 404
    assert alice.get(path(live, "comparison")).json()["twin"] == stopped.json()


def test_comparison_names_states_and_reasons(alice: APIClient, live: Subscription) -> None:
    twin = alice.post(path(live, "twin")).json()
    with for_all_tenants():
        signal = make.signal(live.feed, published_at=market_now())
        for row, status, reason in (
            (live.connection_id, "DENIED", "NO_MONEY"), (twin["connection"], "PENDING", ""),
        ):  # fmt: skip
            Order.objects.create(
                connection_id=row, signal=signal, leg="entry", pair="EUR/USD", side="BUY",
                order_type="MARKET", time_in_force="GTC", status=status, reason=reason,
            )  # fmt: skip
    (line,) = alice.get(path(live, "comparison")).json()["signals"]
    assert (line["signal"], line["live"]["code"], line["difference"]) == (
        signal.pk, "NO_MONEY", None,
    )  # fmt: skip
    answer: Any = alice.get(path(live, "comparison"), {"format": "csv"})
    (row,) = csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode("utf-8-sig")))
    assert (row["signal"], row["live_reason"]) == (signal.number, "NO_MONEY")


def test_comparison_is_paged_in_the_order_of_publication(
    alice: APIClient, live: Subscription, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A draft is numbered when it is written, and published later."""
    monkeypatch.setattr(api_twins, "A_PAGE", 2)
    twin = alice.post(path(live, "twin")).json()
    with for_all_tenants():
        at = [market_now() + timedelta(seconds=n) for n in (4, 1, 2, 3)]
        signals = [make.signal(live.feed, published_at=one) for one in at]
        for signal in signals:
            Order.objects.create(
                connection_id=twin["connection"], signal=signal, leg="entry", pair="EUR/USD",
                side="BUY", order_type="MARKET", time_in_force="GTC", status="PENDING",
            )  # fmt: skip
    first, second, third, fourth = (one.pk for one in signals)
    page = alice.get(path(live, "comparison")).json()
    assert [one["signal"] for one in page["signals"]] == [first, fourth]
    following = alice.get(path(live, "comparison"), {"before": page["next_before"]}).json()
    assert [one["signal"] for one in following["signals"]] == [third, second]
    assert following["next_before"] is None


def test_twins_own_subscription_has_no_twin(alice: APIClient, live: Subscription) -> None:
    pk = alice.post(path(live, "twin")).json()["id"]
    with for_all_tenants():
        own = Subscription.objects.get(twin_of=pk)
    assert alice.post(path(own, "twin")).status_code == 404
    assert alice.post(path(own, "pause")).json()["code"] == "TWIN_FOLLOWS"


def test_others_find_nothing(world: World, live: Subscription, alice: APIClient) -> None:
    alice.post(path(live, "twin"))
    bob = world.client("bob")
    for name in ("twin", "stop-twin"):
        assert bob.post(path(live, name)).status_code == 404
    assert bob.get(path(live, "comparison")).status_code == 404
    with for_all_tenants():
        assert live.twins.get().ended_at is None
        assert Signal.objects.exists()
