"""Alerts that come twice, late, or in another order than they were sent, at the alert door.

Alice's account follows Paula's approved feed. Its positions and orders are rows here: what becomes
of an alert is decided, and its exit orders are written, in the alert's own transaction.
"""

import json
from datetime import datetime, timedelta
from decimal import Decimal as D
from threading import Thread
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from common.clocks import market_now
from execution.models import Order
from positions.models import ExecutionPosition
from signals.alert_orders import MAX_CLOSED_AGAIN
from signals.feeds import create_feed_token
from signals.models import Direction, Feed, ReceivedAlert, Signal
from signals.open_signals import open_signals
from tests.api.conftest import AsWeb
from tests.api.factories import World
from tests.api.test_problems import problem

CLOSE = {"action": "CLOSE", "ticker": "EURUSD"}
HALF = {**CLOSE, "close_fraction": "0.5"}


class Door:
    """The alert address of Paula's feed, opened by the web process's database role."""

    def __init__(self, world: World, as_web: AsWeb) -> None:
        _, secret = create_feed_token(world.public)
        self._as_web = as_web
        self.feed, self.account = world.public, world.connection
        self.prices = world.prices
        self.path = f"/hooks/tradingview/{self.feed.slug}/{secret}/"

    def post(self, **said: Any) -> Any:
        client: Any = Client(enforce_csrf_checks=True)
        data = json.dumps(said).encode()
        with self._as_web():
            return client.post(self.path, data, content_type="application/json")

    def taken(self, **said: Any) -> dict[str, Any]:
        """What an alert is answered that is not refused."""
        answer = self.post(**said)
        assert answer.status_code in (200, 201), answer.content
        return dict(answer.json())

    def trade(self, direction: str = "BUY", **fields: Any) -> ExecutionPosition:
        """Open a trade by hand; return its position of 1,000 in the account."""
        signal = Signal.objects.create(
            feed=self.feed, currency_pair="EUR/USD", direction=direction, approval="APPROVED",
            published_at=market_now(), **fields,
        )  # fmt: skip
        return self.fill(signal)

    def fill(self, signal: Signal) -> ExecutionPosition:
        """Fill a signal's entry in the account."""
        Order.objects.filter(signal=signal).delete()
        return ExecutionPosition.objects.create(
            connection=self.account, signal=signal, pair="EUR/USD", symbol="EURUSD",
            side=signal.direction, quantity=D(1000), opened_quantity=D(1000),
            entry_price=D("1.386"), price_source=self.prices, pip=D("0.0001"),
            conversion_rate=D(1), opened_at=market_now(),
        )  # fmt: skip


@pytest.fixture
def door(world: World, as_web: AsWeb) -> Door:
    return Door(world, as_web)


def exits(position: ExecutionPosition) -> list[D | None]:
    """The quantities of the exit orders of a position, the oldest first."""
    return list(position.exits.order_by("id").values_list("quantity", flat=True))


def closed(position: ExecutionPosition) -> None:
    """The broker has filled its exits."""
    sold = sum((quantity or D(0) for quantity in exits(position)), D(0))
    position.exits.update(status="FILLED", filled_quantity=sold, done_at=market_now())
    left = D(1000) - sold
    ExecutionPosition.objects.filter(pk=position.pk).update(quantity=left, reserved=0)


def minutes_pass(minutes: int) -> None:
    """Move what was received into the past."""
    for alert in ReceivedAlert.objects.all():
        alert.received_at -= timedelta(minutes=minutes)
        alert.save()


def at(seconds: float, since: datetime | None = None) -> str:
    """A sender's time, in whole seconds as TradingView writes it."""
    moment = (since or market_now()) + timedelta(seconds=seconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def strategy(before: str, action: str, after: str, seconds: float, **more: Any) -> dict[str, Any]:
    """A strategy's order for one contract each way, `seconds` from now."""
    return {
        "ticker": "EURUSD", "action": action, "prev_market_position": before,
        "market_position": after, "timenow": at(seconds), **more,
    }  # fmt: skip


class TestCloseWithoutTime:
    """A CLOSE of a symbol by a plain body: it does what it says each time, and once."""

    def test_equal_close_after_the_window_closes_the_next_trade(self, door: Door) -> None:
        first = door.trade()
        assert door.taken(**CLOSE)["is_new"]
        closed(first)
        minutes_pass(6)
        second = door.trade()
        told = door.taken(**CLOSE)
        assert (told["is_new"], told["summary"]) == (True, f"Closed S-{second.signal_id}.")
        assert (exits(first), exits(second)) == ([D(1000)], [D(1000)])

    def test_equal_partial_close_after_the_window_closes_another_part(self, door: Door) -> None:
        position = door.trade()
        assert door.taken(**HALF)["is_new"]
        closed(position)
        minutes_pass(6)
        told = door.taken(**HALF)
        assert (told["is_new"], told["summary"]) == (
            True,
            f"Closed 50 % of S-{position.signal_id}.",
        )
        assert exits(position) == [D(500), D(250)]

    @pytest.mark.parametrize("body", [CLOSE, HALF], ids=["whole", "half"])
    def test_equal_close_within_the_window_closes_only_what_is_new(
        self, door: Door, body: dict[str, Any]
    ) -> None:
        first = door.trade()
        door.taken(**body)
        once = exits(first)
        second = door.trade()
        told = door.taken(**body)
        assert told["is_new"]
        assert told["summary"].endswith(f"S-{second.signal_id}.")
        assert exits(second) == once
        assert exits(first) == once  # the earlier alert acted on it already

    def test_resent_close_acts_once_while_nothing_new_is_open(self, door: Door) -> None:
        first, second = door.trade(), door.trade("SELL")
        told = door.taken(**HALF)
        again = [door.taken(**HALF) for _ in range(3)]
        assert all(one == {**told, "is_new": False} for one in again)
        assert exits(first) == exits(second) == [D(500)]
        assert ReceivedAlert.objects.count() == 1

    def test_close_that_found_nothing_does_not_silence_the_next(self, door: Door) -> None:
        assert door.taken(**CLOSE)["id"] is None
        position = door.trade()
        assert door.taken(**CLOSE)["is_new"]
        assert exits(position) == [D(1000)]

    def test_close_with_a_used_external_id_is_refused_while_other_trades_are_open(
        self, door: Door
    ) -> None:
        first = door.trade()
        named = {**CLOSE, "external_id": "exit"}
        told = door.taken(**named)
        minutes_pass(60)
        assert door.taken(**named) == {**told, "is_new": False}
        closed(first)
        second = door.trade()
        body = problem(door.post(**named), 409, "DUPLICATE_SIGNAL")
        assert f"S-{second.signal_id}" in body["detail"]
        assert exits(second) == []


class TestOutOfOrder:
    """An alert that comes after one that was sent later."""

    def test_late_entry_of_a_trade_that_was_left_is_refused(self, door: Door) -> None:
        entry = strategy("flat", "buy", "long", -20)
        assert door.taken(**strategy("long", "sell", "flat", -5))["id"] is None
        body = problem(door.post(**entry), 409, "ALERT_OUT_OF_ORDER")
        assert "long" in body["detail"]
        assert not Signal.objects.filter(feed=door.feed).exists()
        assert door.taken(**strategy("flat", "buy", "long", 0))["is_new"]

    def test_entry_of_another_symbol_or_feed_is_not_late(self, door: Door, world: World) -> None:
        door.taken(**strategy("long", "sell", "flat", -5))
        entry = strategy("flat", "buy", "long", -20)
        assert door.taken(**{**entry, "ticker": "GBPUSD"})["is_new"]

    def test_late_addition_to_a_trade_that_was_left_is_refused(self, door: Door) -> None:
        sizes = {"contracts": "1", "prev_market_position_size": "1", "market_position_size": "2"}
        addition = strategy("long", "buy", "long", -20, **sizes)
        door.taken(**strategy("long", "sell", "flat", -5))
        problem(door.post(**addition), 409, "ALERT_OUT_OF_ORDER")

    def test_entry_that_a_later_addition_overtook_is_opened(self, door: Door) -> None:
        """Pyramiding: two orders of one bar, the second is there first; the trade goes on."""
        sizes = {"contracts": "1", "prev_market_position_size": "1", "market_position_size": "2"}
        assert door.taken(**strategy("long", "buy", "long", -5, **sizes))["change"] == "add"
        told = door.taken(**strategy("flat", "buy", "long", -7))
        assert (told["is_new"], told["change"]) == (True, "entry")

    def test_late_reversal_closes_and_does_not_open(self, door: Door) -> None:
        """Its long trade is open still, and no other alert will close it."""
        position = door.trade()
        assert door.taken(**strategy("short", "buy", "flat", -5))["id"] is None
        told = door.taken(**strategy("long", "sell", "short", -20))
        assert exits(position) == [D(1000)]
        assert [f"S-{one.pk}" for one in Signal.objects.filter(refers_to=position.signal_id)] == (
            told["signals"]
        )
        assert told["summary"].startswith(f"Closed S-{position.signal_id}; opened no short trade: ")
        assert not Signal.objects.filter(feed=door.feed, direction="SELL").exists()

    def test_reversal_with_a_level_that_cannot_be_read_still_closes(self, door: Door) -> None:
        position = door.trade()
        reversal = strategy("long", "sell", "short", 0, sl="NaN")
        told = door.taken(**reversal)
        assert exits(position) == [D(1000)]
        assert "opened no short trade: sl is 'NaN'" in told["summary"]
        assert door.taken(**reversal) == {**told, "is_new": False}
        closed(position)
        problem(
            door.post(**strategy("long", "sell", "short", 1, sl="NaN")), 400, "NUMBER_MALFORMED"
        )

    def test_late_indicator_entry_is_refused_after_a_close(self, door: Door) -> None:
        entry = {
            "action": "OPEN", "direction": "BUY", "ticker": "EURUSD", "sl": "1.3",
            "timenow": at(-20),
        }  # fmt: skip
        door.taken(**CLOSE, direction="SELL", timenow=at(-5))
        assert door.taken(**entry, note="one")["is_new"]  # only short trades were closed
        door.taken(**CLOSE, timenow=at(-4))
        problem(door.post(**entry, note="two"), 409, "ALERT_OUT_OF_ORDER")
        assert not door.taken(**entry, note="one")["is_new"]  # known, however late

    def test_late_close_leaves_what_a_later_indicator_alert_opened(self, door: Door) -> None:
        entry = {"action": "OPEN", "direction": "BUY", "ticker": "EURUSD", "sl": "1.3"}
        old = door.fill(Signal.objects.get(pk=door.taken(**entry, timenow=at(-30))["id"]))
        new = door.fill(Signal.objects.get(pk=door.taken(**entry, timenow=at(-5))["id"]))
        door.taken(**CLOSE, timenow=at(-20))
        assert (exits(old), exits(new)) == ([D(1000)], [])

    def test_late_change_of_levels_does_not_undo_a_later_one(self, door: Door) -> None:
        position = door.trade(external_id="long-1")
        change = {"action": "MODIFY", "refers_to_external_id": "long-1"}
        door.taken(**change, sl="1.30", timenow=at(-5))
        problem(door.post(**change, sl="1.20", timenow=at(-20)), 409, "ALERT_OUT_OF_ORDER")
        door.taken(**change, tp="1.50", timenow=at(-15))  # the later one left the target alone
        position.refresh_from_db()
        assert (position.sl, position.tp) == (D("1.30"), D("1.50"))

    def test_equal_change_of_levels_counts_after_another_one(self, door: Door) -> None:
        position = door.trade(external_id="long-1")
        change = {"action": "MODIFY", "refers_to_external_id": "long-1"}
        stops = ("1.30", "1.20", "1.30", "1.30")
        told = [door.taken(**change, sl=sl)["is_new"] for sl in stops]
        assert told == [True, True, True, False]
        position.refresh_from_db()
        assert position.sl == D("1.30")


class TestAgeOfEntries:
    """A market entry is bounded by when its alert was sent, not by when it was published."""

    def test_market_entry_counts_its_age_from_its_alert(self, door: Door) -> None:
        now = market_now()
        told = door.taken(**strategy("flat", "buy", "long", -40))
        ends = Signal.objects.get(pk=told["id"]).valid_until
        assert ends is not None
        assert timedelta(seconds=18) < ends - now < timedelta(seconds=21)

    @pytest.mark.parametrize("kind", ["strategy", "indicator"])
    def test_alert_older_than_a_market_entry_may_be_is_refused(self, door: Door, kind: str) -> None:
        body = (
            strategy("flat", "buy", "long", -200)
            if kind == "strategy"
            else {"action": "OPEN", "direction": "BUY", "ticker": "EURUSD", "timenow": at(-200)}
        )
        told = problem(door.post(**body), 400, "ALERT_TOO_OLD")
        assert "60 s" in told["detail"]
        assert not Signal.objects.filter(feed=door.feed).exists()

    def test_limit_entry_and_exit_may_be_older(self, door: Door) -> None:
        limit = {"action": "OPEN", "direction": "BUY", "ticker": "EURUSD", "order_type": "LIMIT"}
        assert door.taken(**limit, price="1.2", timenow=at(-200))["is_new"]
        position = door.trade("SELL")
        assert door.taken(**strategy("short", "buy", "flat", -200))["is_new"]
        assert exits(position) == [D(1000)]

    def test_reversal_whose_validity_has_passed_closes_and_does_not_open(self, door: Door) -> None:
        position = door.trade()
        reversal = strategy("long", "sell", "short", 0, valid_until=at(-3))
        told = door.taken(**reversal)
        assert (exits(position), len(told["signals"])) == ([D(1000)], 1)
        assert "opened no short trade: valid_until" in told["summary"]
        assert not Signal.objects.filter(feed=door.feed, direction="SELL").exists()

    def test_old_reversal_closes_and_does_not_open(self, door: Door) -> None:
        position = door.trade()
        told = door.taken(**strategy("long", "sell", "short", -200))
        assert exits(position) == [D(1000)]
        assert "; opened no short trade: " in told["summary"]
        assert len(told["signals"]) == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("timed", [True, False], ids=["timed", "plain"])
def test_equal_closes_at_the_same_moment_act_once(
    world: World, as_web: AsWeb, *, timed: bool
) -> None:
    door = Door(world, as_web)
    position = door.trade()
    body = {**HALF, "timenow": at(0)} if timed else HALF
    answers: list[Any] = []

    def post() -> None:
        try:
            client = Client()
            answer = client.post(door.path, json.dumps(body), content_type="text/plain")
            answers.append((answer.status_code, answer.json()["is_new"]))
        finally:
            connection.close()

    threads = [Thread(target=post) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(answers) == [(200, False)] * 3 + [(201, True)]
    assert exits(position) == [D(500)]
    assert ReceivedAlert.objects.count() == 1


def test_received_alerts_are_removed_after_a_week(door: Door, world: World) -> None:
    other = Feed.objects.get(pk=world.feed.pk)
    for number in range(3):
        ReceivedAlert.objects.create(feed=other, key=str(number), change="flat", summary="s")
    minutes_pass(8 * 24 * 60)
    kept = ReceivedAlert.objects.create(feed=other, key="k", change="flat", summary="s")
    door.taken(**strategy("long", "sell", "flat", 0))
    assert list(ReceivedAlert.objects.filter(feed=other)) == [kept]
    assert ReceivedAlert.objects.filter(feed=door.feed).count() == 1


def test_open_signals_are_found_by_feed_symbol_and_side(door: Door, world: World) -> None:
    """What has a position, an order at a broker or one that waits; whatever has ended is not."""
    held, short = door.trade(), door.trade("SELL")
    flat = door.trade()
    ExecutionPosition.objects.filter(pk=flat.pk).update(quantity=0)
    fields: dict[str, Any] = {"feed": door.feed, "approval": "APPROVED", "direction": "BUY"}
    waiting, working, ended, elsewhere = (
        Signal.objects.create(currency_pair=pair, published_at=market_now(), **fields)
        for pair in ("EUR/USD", "EUR/USD", "EUR/USD", "GBP/USD")
    )
    for signal, status in (
        (waiting, "PENDING"), (working, "SUBMITTED"), (ended, "CANCELLED"), (elsewhere, "PENDING"),
    ):  # fmt: skip
        Order.objects.create(
            connection=door.account, signal=signal, leg="entry", pair=signal.currency_pair,
            side="BUY", order_type="MARKET", time_in_force="GTC", quantity=D(1), status=status,
        )  # fmt: skip
    found = [(one.id, one.direction) for one in open_signals(door.feed.pk, "EUR/USD")]
    longs = [held.signal_id, waiting.pk, working.pk]
    assert found == sorted([(one, "BUY") for one in longs] + [(short.signal_id, "SELL")])
    found_longs = open_signals(door.feed.pk, "EUR/USD", Direction.BUY)
    assert [one.id for one in found_longs] == sorted(longs)
    assert [one.id for one in open_signals(world.feed.pk, "EUR/USD")] == [world.published.pk]


def test_account_that_fills_no_exits_does_not_have_alerts_publish_more_and_more(
    door: Door, world: World
) -> None:
    held = [door.trade() for _ in range(MAX_CLOSED_AGAIN + 5)]
    for position in held:
        Signal.objects.create(
            feed=door.feed, action="CLOSE", refers_to_id=position.signal_id, approval="APPROVED",
            currency_pair="EUR/USD", direction="BUY", published_at=market_now(),
        )  # fmt: skip
    current = door.trade()
    told = door.taken(**CLOSE)
    assert len(told["signals"]) == MAX_CLOSED_AGAIN + 1
    oldest = ", ".join(f"S-{position.signal_id}" for position in held[:3])
    assert told["summary"].endswith(
        f"and 18 more; skipped {oldest} and 2 more, which this feed has closed before and "
        "accounts still hold: close each by refers_to."
    )
    assert [bool(exits(position)) for position in held] == [False] * 5 + [True] * MAX_CLOSED_AGAIN
    assert exits(current) == [D(1000)]
