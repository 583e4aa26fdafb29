"""Closing everything that a feed has open, by an alert and by a call of the API."""

from decimal import Decimal as D
from typing import Any

import pytest

from common.clocks import market_now
from connections.models import ExecutionConnection, Subscription
from execution.models import Order
from positions.models import ExecutionPosition
from signals.models import Feed, ReceivedAlert, Signal
from tests.api.factories import World
from tests.api.symbol_alerts import DAX, DOLLAR, opened
from tests.api.test_alert_sequence import at
from tests.api.test_problems import problem
from tests.api.test_symbols import alert, follower


@pytest.fixture
def feed(world: World) -> Feed:
    """Return Paula's feed, with one follower."""
    Subscription.objects.all().delete()
    return world.public


@pytest.fixture
def holder(feed: Feed) -> ExecutionConnection:
    return follower(feed, DAX, DOLLAR)


def held(world: World, signal: Signal, row: ExecutionConnection) -> ExecutionPosition:
    Order.objects.filter(signal=signal).delete()
    return ExecutionPosition.objects.create(
        connection=row, signal=signal, pair=signal.currency_pair, symbol="ANY",
        side=signal.direction, quantity=D(1000), opened_quantity=D(1000), entry_price=D(18000),
        price_source=world.prices, pip=D(1), conversion_rate=D(1), opened_at=market_now(),
    )  # fmt: skip


@pytest.fixture
def trades(world: World, feed: Feed, holder: ExecutionConnection) -> list[Signal]:
    """Two open trades in two symbols."""
    signals = [opened(world, feed, pair) for pair in (DAX.pair, DOLLAR.pair)]
    for signal in signals:
        held(world, signal, holder)
    return signals


def closed(feed: Feed) -> list[int | None]:
    found = feed.signals.filter(action="CLOSE").order_by("pk")
    return list(found.values_list("refers_to_id", flat=True))


def test_alert_closes_everything_once(world: World, feed: Feed, trades: list[Signal]) -> None:
    moment = at(0)
    answer = alert(world, feed, action="CLOSE", all=True, timenow=moment)
    assert answer.status_code == 201, answer.content
    numbers = ", ".join(signal.number for signal in trades)
    assert answer.json()["summary"] == f"Closed {numbers}."
    assert closed(feed) == [signal.pk for signal in trades]
    again = alert(world, feed, action="CLOSE", all=True, timenow=moment)
    assert again.json()["summary"] == f"Closed {numbers}."
    assert len(closed(feed)) == 2


def test_alert_closes_one_side_or_a_share(world: World, feed: Feed, trades: list[Signal]) -> None:
    other = "SELL" if trades[0].direction == "BUY" else "BUY"
    nothing = alert(world, feed, action="CLOSE", all=True, direction=other)
    assert nothing.json()["summary"].startswith("Nothing to do: this feed has no open ")
    alert(world, feed, action="CLOSE", all=True, close_fraction="0.5")
    assert set(feed.signals.filter(action="CLOSE").values_list("close_fraction", flat=True)) == {
        D("0.5")
    }


def test_late_alert_leaves_what_was_opened_since(
    world: World, feed: Feed, trades: list[Signal]
) -> None:
    ReceivedAlert.objects.create(
        feed=feed, key="k", pair=trades[1].currency_pair, change="open", summary="s",
        sent_at=market_now(), signal_ids=[trades[1].pk],
    )  # fmt: skip
    alert(world, feed, action="CLOSE", all=True, timenow=at(-60))
    assert closed(feed) == [trades[0].pk]


def test_entry_that_an_alert_for_everything_has_overtaken_is_refused(
    world: World, feed: Feed, trades: list[Signal]
) -> None:
    alert(world, feed, action="CLOSE", all=True, timenow=at(0))
    late = alert(
        world, feed, ticker=DAX.pair, action="OPEN", direction="BUY", sl="17000", timenow=at(-20)
    )
    problem(late, 409, "ALERT_OUT_OF_ORDER")


@pytest.mark.parametrize(
    ("fields", "fields_with_faults"),
    [
        ({"all": "yes"}, {"all"}),
        ({"all": False, "close_fraction": "2"}, {"all", "close_fraction"}),
        ({"all": True, "ticker": DAX.pair, "direction": "UP"}, {"ticker", "direction"}),
        ({}, {"ticker"}),
    ],
)
def test_faults_of_an_alert_for_everything_are_named_at_once(
    world: World, feed: Feed, trades: list[Signal], fields: Any, fields_with_faults: set[str]
) -> None:
    answer = alert(world, feed, **{"ticker": None, "direction": None, **fields}, action="CLOSE")
    assert answer.status_code == 400
    assert {error["field"] for error in answer.json()["errors"]} == fields_with_faults
    assert closed(feed) == []


def test_dry_run_of_the_api_publishes_nothing(
    world: World, feed: Feed, trades: list[Signal]
) -> None:
    client, path = world.client("paula"), f"/api/v1/feeds/{feed.slug}/close-trades/"
    shown = client.post(path, {"dry_run": True, "symbol": DAX.pair}, format="json")
    assert shown.status_code == 200, shown.content
    assert [signal["id"] for signal in shown.json()["signals"]] == [trades[0].pk]
    assert closed(feed) == []
    key: Any = {"HTTP_IDEMPOTENCY_KEY": "end-1"}
    first = client.post(path, {"close_fraction": "0.5"}, format="json", **key).json()
    again = client.post(path, {"close_fraction": "0.5"}, format="json", **key).json()
    assert [s["id"] for s in again["signals"]] == [s["id"] for s in first["signals"]]
    assert len(closed(feed)) == 2
    problem(client.post(path, {}, format="json", **key), 409, "DUPLICATE_REQUEST")


@pytest.mark.parametrize("name", ["external_id", "Idempotency-Key"])
def test_repetition_over_the_api_closes_nothing_that_was_opened_since(
    world: World, feed: Feed, holder: ExecutionConnection, name: str
) -> None:
    client, path = world.client("paula"), f"/api/v1/feeds/{feed.slug}/close-trades/"
    by_id = name == "external_id"

    def close(**body: str) -> Any:
        header: Any = {} if by_id else {"HTTP_IDEMPOTENCY_KEY": "k" * 255}
        own = {"external_id": "evening"} if by_id else {}
        return client.post(path, body | own, format="json", **header)

    assert close(symbol=DAX.pair).json()["signals"] == []
    held(world, opened(world, feed, DAX.pair), holder)
    held(world, opened(world, feed, DOLLAR.pair), holder)
    assert close(symbol=DAX.pair).json()["signals"] == []
    other = close(symbol=DOLLAR.pair)
    problem(other, 409, "DUPLICATE_SIGNAL" if by_id else "DUPLICATE_REQUEST")
    assert closed(feed) == []


def test_api_names_all_faults_at_once(world: World, feed: Feed) -> None:
    body = {"symbol": "?!", "close_fraction": "2", "dry_run": True}
    path = f"/api/v1/feeds/{feed.slug}/close-trades/"
    answer = world.client("paula").post(path, body, format="json")
    assert {error["field"] for error in answer.json()["errors"]} == {"symbol", "close_fraction"}
