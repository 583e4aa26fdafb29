"""Alerts that arrive at the alert endpoint twice, late, or out of order.

Alice's account follows Paula's approved feed. An alert is decided, and its exit orders are written,
in the alert's own transaction, so no worker runs here.
"""

import json
from datetime import datetime, timedelta
from decimal import Decimal as D
from threading import Thread
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from alerts.carry_out.orders import MAX_CLOSED_AGAIN
from common.clocks import market_now
from execution.models import Order
from positions.models import ExecutionPosition
from signals.feeds.services import create_feed_token
from signals.models import Direction, Feed, ReceivedAlert, Signal
from signals.open_signals import open_signals
from tests.alert_inbox import answer_of
from tests.api.conftest import AsWeb
from tests.api.factories import World
from tests.api.test_problems import problem

CLOSE = {"action": "CLOSE", "ticker": "EURUSD"}
HALF = {**CLOSE, "close_fraction": "0.5"}


class AlertEndpoint:
    """The alert address of Paula's feed, served under the web process's database role."""

    def __init__(self, world: World, as_web: AsWeb) -> None:
        _, secret = create_feed_token(world.public)
        self._as_web = as_web
        self.feed, self.account = world.public, world.connection
        self.prices = world.prices
        self.path = f"/hooks/tradingview/{self.feed.slug}/{secret}/"

    def post(self, **fields: Any) -> Any:
        client: Any = Client(enforce_csrf_checks=True)
        data = json.dumps(fields).encode()
        with self._as_web():
            response = client.post(self.path, data, content_type="application/json")
        return answer_of(response)

    def accept(self, **fields: Any) -> dict[str, Any]:
        """Post an alert that must not be refused; return the body of the response."""
        response = self.post(**fields)
        assert response.status_code in (200, 201), response.content
        return dict(response.json())

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
def endpoint(world: World, as_web: AsWeb) -> AlertEndpoint:
    return AlertEndpoint(world, as_web)


def exits(position: ExecutionPosition) -> list[D | None]:
    """Return the quantities of the exit orders of a position, oldest first."""
    return list(position.exits.order_by("id").values_list("quantity", flat=True))


def fill_exits(position: ExecutionPosition) -> None:
    sold = sum((quantity or D(0) for quantity in exits(position)), D(0))
    position.exits.update(status="FILLED", filled_quantity=sold, done_at=market_now())
    left = D(1000) - sold
    ExecutionPosition.objects.filter(pk=position.pk).update(quantity=left, reserved=0)


def minutes_pass(minutes: int) -> None:
    """Move the received alerts into the past."""
    for alert in ReceivedAlert.objects.all():
        alert.received_at -= timedelta(minutes=minutes)
        alert.save()


def at(seconds: float, since: datetime | None = None) -> str:
    """Return a sender's time in whole seconds, as TradingView writes it."""
    moment = (since or market_now()) + timedelta(seconds=seconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def strategy(before: str, action: str, after: str, seconds: float, **more: Any) -> dict[str, Any]:
    """Return a strategy's order for one contract, sent `seconds` from now."""
    return {
        "ticker": "EURUSD", "action": action, "prev_market_position": before,
        "market_position": after, "timenow": at(seconds), **more,
    }  # fmt: skip


class TestCloseWithoutTime:
    """A CLOSE of a symbol without a time acts each time it is sent, and once for each trade."""

    def test_equal_close_after_the_window_closes_the_next_trade(
        self, endpoint: AlertEndpoint
    ) -> None:
        first = endpoint.trade()
        assert endpoint.accept(**CLOSE)["is_new"]
        fill_exits(first)
        minutes_pass(6)
        second = endpoint.trade()
        response = endpoint.accept(**CLOSE)
        assert (response["is_new"], response["summary"]) == (True, f"Closed S-{second.signal_id}.")
        assert (exits(first), exits(second)) == ([D(1000)], [D(1000)])

    def test_equal_partial_close_after_the_window_closes_another_part(
        self, endpoint: AlertEndpoint
    ) -> None:
        position = endpoint.trade()
        assert endpoint.accept(**HALF)["is_new"]
        fill_exits(position)
        minutes_pass(6)
        response = endpoint.accept(**HALF)
        assert (response["is_new"], response["summary"]) == (
            True,
            f"Closed 50 % of S-{position.signal_id}.",
        )
        assert exits(position) == [D(500), D(250)]

    @pytest.mark.parametrize("body", [CLOSE, HALF], ids=["whole", "half"])
    def test_equal_close_within_the_window_closes_only_new_trades(
        self, endpoint: AlertEndpoint, body: dict[str, Any]
    ) -> None:
        first = endpoint.trade()
        endpoint.accept(**body)
        once = exits(first)
        second = endpoint.trade()
        response = endpoint.accept(**body)
        assert response["is_new"]
        assert response["summary"].endswith(f"S-{second.signal_id}.")
        assert exits(second) == once
        assert exits(first) == once  # the earlier alert closed it already

    def test_resent_close_acts_once_while_nothing_new_is_open(
        self, endpoint: AlertEndpoint
    ) -> None:
        first, second = endpoint.trade(), endpoint.trade("SELL")
        response = endpoint.accept(**HALF)
        repeated = [endpoint.accept(**HALF) for _ in range(3)]
        assert all(repeat == {**response, "is_new": False} for repeat in repeated)
        assert exits(first) == exits(second) == [D(500)]
        assert ReceivedAlert.objects.count() == 1

    def test_close_without_an_open_trade_does_not_suppress_the_next(
        self, endpoint: AlertEndpoint
    ) -> None:
        assert endpoint.accept(**CLOSE)["id"] is None
        position = endpoint.trade()
        assert endpoint.accept(**CLOSE)["is_new"]
        assert exits(position) == [D(1000)]

    def test_close_with_a_used_external_id_is_refused_while_other_trades_are_open(
        self, endpoint: AlertEndpoint
    ) -> None:
        first = endpoint.trade()
        named = {**CLOSE, "external_id": "exit"}
        response = endpoint.accept(**named)
        minutes_pass(60)
        assert endpoint.accept(**named) == {**response, "is_new": False}
        fill_exits(first)
        second = endpoint.trade()
        body = problem(endpoint.post(**named), 409, "DUPLICATE_SIGNAL")
        assert f"S-{second.signal_id}" in body["detail"]
        assert exits(second) == []


@pytest.mark.parametrize(("after", "is_reversal"), [("short", True), ("flat", False)])
def test_close_of_a_reversal_is_marked(
    endpoint: AlertEndpoint, after: str, is_reversal: bool
) -> None:
    position = endpoint.trade()
    assert endpoint.accept(**strategy("long", "sell", after, -5))["is_new"]
    assert Signal.objects.get(refers_to=position.signal_id).is_reversal is is_reversal


class TestOutOfOrder:
    """An alert that arrives after one that was sent later."""

    def test_late_entry_of_a_closed_trade_is_refused(self, endpoint: AlertEndpoint) -> None:
        entry = strategy("flat", "buy", "long", -20)
        assert endpoint.accept(**strategy("long", "sell", "flat", -5))["id"] is None
        body = problem(endpoint.post(**entry), 409, "ALERT_OUT_OF_ORDER")
        assert "long" in body["detail"]
        assert not Signal.objects.filter(feed=endpoint.feed).exists()
        assert endpoint.accept(**strategy("flat", "buy", "long", 0))["is_new"]

    def test_entry_of_another_symbol_or_feed_is_not_late(
        self, endpoint: AlertEndpoint, world: World
    ) -> None:
        endpoint.accept(**strategy("long", "sell", "flat", -5))
        entry = strategy("flat", "buy", "long", -20)
        assert endpoint.accept(**{**entry, "ticker": "GBPUSD"})["is_new"]

    def test_late_addition_to_a_closed_trade_is_refused(self, endpoint: AlertEndpoint) -> None:
        sizes = {"contracts": "1", "prev_market_position_size": "1", "market_position_size": "2"}
        addition = strategy("long", "buy", "long", -20, **sizes)
        endpoint.accept(**strategy("long", "sell", "flat", -5))
        problem(endpoint.post(**addition), 409, "ALERT_OUT_OF_ORDER")

    def test_entry_that_arrives_after_a_later_addition_is_opened(
        self, endpoint: AlertEndpoint
    ) -> None:
        """Pyramiding: of two orders of one bar, the second arrives first."""
        sizes = {"contracts": "1", "prev_market_position_size": "1", "market_position_size": "2"}
        assert endpoint.accept(**strategy("long", "buy", "long", -5, **sizes))["change"] == "add"
        response = endpoint.accept(**strategy("flat", "buy", "long", -7))
        assert (response["is_new"], response["change"]) == (True, "entry")

    def test_late_reversal_closes_and_does_not_open(self, endpoint: AlertEndpoint) -> None:
        """Its long trade is still open, and no other alert will close it."""
        position = endpoint.trade()
        assert endpoint.accept(**strategy("short", "buy", "flat", -5))["id"] is None
        response = endpoint.accept(**strategy("long", "sell", "short", -20))
        assert exits(position) == [D(1000)]
        assert [
            f"S-{signal.pk}" for signal in Signal.objects.filter(refers_to=position.signal_id)
        ] == (response["signals"])
        assert response["summary"].startswith(
            f"Closed S-{position.signal_id}; opened no short trade: "
        )
        assert not Signal.objects.filter(feed=endpoint.feed, direction="SELL").exists()

    def test_reversal_with_a_malformed_level_still_closes(self, endpoint: AlertEndpoint) -> None:
        position = endpoint.trade()
        reversal = strategy("long", "sell", "short", 0, sl="NaN")
        response = endpoint.accept(**reversal)
        assert exits(position) == [D(1000)]
        assert "opened no short trade: sl is 'NaN'" in response["summary"]
        assert endpoint.accept(**reversal) == {**response, "is_new": False}
        fill_exits(position)
        problem(
            endpoint.post(**strategy("long", "sell", "short", 1, sl="NaN")), 400, "NUMBER_MALFORMED"
        )

    def test_late_indicator_entry_is_refused_after_a_close(self, endpoint: AlertEndpoint) -> None:
        entry = {
            "action": "OPEN", "direction": "BUY", "ticker": "EURUSD", "sl": "1.3",
            "timenow": at(-20),
        }  # fmt: skip
        endpoint.accept(**CLOSE, direction="SELL", timenow=at(-5))
        assert endpoint.accept(**entry, note="one")["is_new"]  # only short trades were closed
        endpoint.accept(**CLOSE, timenow=at(-4))
        problem(endpoint.post(**entry, note="two"), 409, "ALERT_OUT_OF_ORDER")
        assert not endpoint.accept(**entry, note="one")["is_new"]  # known

    def test_late_close_leaves_trades_of_later_indicator_alerts_open(
        self, endpoint: AlertEndpoint
    ) -> None:
        entry = {"action": "OPEN", "direction": "BUY", "ticker": "EURUSD", "sl": "1.3"}
        old = endpoint.fill(Signal.objects.get(pk=endpoint.accept(**entry, timenow=at(-30))["id"]))
        new = endpoint.fill(Signal.objects.get(pk=endpoint.accept(**entry, timenow=at(-5))["id"]))
        endpoint.accept(**CLOSE, timenow=at(-20))
        assert (exits(old), exits(new)) == ([D(1000)], [])

    def test_late_change_of_levels_does_not_overwrite_a_later_one(
        self, endpoint: AlertEndpoint
    ) -> None:
        position = endpoint.trade(external_id="long-1")
        change = {"action": "MODIFY", "refers_to_external_id": "long-1"}
        endpoint.accept(**change, sl="1.30", timenow=at(-5))
        problem(endpoint.post(**change, sl="1.20", timenow=at(-20)), 409, "ALERT_OUT_OF_ORDER")
        endpoint.accept(**change, tp="1.50", timenow=at(-15))  # no target in the later one
        position.refresh_from_db()
        assert (position.sl, position.tp) == (D("1.30"), D("1.50"))

    def test_late_change_of_a_trade_does_not_wait_for_one_of_another(
        self, endpoint: AlertEndpoint
    ) -> None:
        first, other = (endpoint.trade(external_id=name) for name in ("long-1", "long-2"))
        endpoint.accept(action="MODIFY", refers_to_external_id="long-2", sl="1.30", timenow=at(-5))
        endpoint.accept(action="MODIFY", refers_to_external_id="long-1", sl="1.20", timenow=at(-20))
        for position, stop in ((first, D("1.20")), (other, D("1.30"))):
            position.refresh_from_db()
            assert position.sl == stop

    def test_equal_change_of_levels_counts_after_another_one(self, endpoint: AlertEndpoint) -> None:
        position = endpoint.trade(external_id="long-1")
        change = {"action": "MODIFY", "refers_to_external_id": "long-1"}
        stops = ("1.30", "1.20", "1.30", "1.30")
        is_new = [endpoint.accept(**change, sl=sl)["is_new"] for sl in stops]
        assert is_new == [True, True, True, False]
        position.refresh_from_db()
        assert position.sl == D("1.30")


class TestAgeOfEntries:
    """The age of a market entry counts from the time its alert was sent, not published."""

    def test_age_of_market_entry_counts_from_its_alert(self, endpoint: AlertEndpoint) -> None:
        before = market_now()
        fields = strategy("flat", "buy", "long", -40)
        after = market_now()
        response = endpoint.accept(**fields)
        ends = Signal.objects.get(pk=response["id"]).valid_until
        assert ends is not None
        assert before < ends - timedelta(seconds=19)  # whole seconds
        assert ends - timedelta(seconds=20) <= after

    @pytest.mark.parametrize("kind", ["strategy", "indicator"])
    def test_alert_too_old_for_a_market_entry_is_refused(
        self, endpoint: AlertEndpoint, kind: str
    ) -> None:
        body = (
            strategy("flat", "buy", "long", -200)
            if kind == "strategy"
            else {"action": "OPEN", "direction": "BUY", "ticker": "EURUSD", "timenow": at(-200)}
        )
        error = problem(endpoint.post(**body), 400, "ALERT_TOO_OLD")
        assert "60 s" in error["detail"]
        assert not Signal.objects.filter(feed=endpoint.feed).exists()

    def test_limit_entry_and_exit_of_an_old_alert_are_accepted(
        self, endpoint: AlertEndpoint
    ) -> None:
        limit = {"action": "OPEN", "direction": "BUY", "ticker": "EURUSD", "order_type": "LIMIT"}
        assert endpoint.accept(**limit, price="1.2", timenow=at(-200))["is_new"]
        position = endpoint.trade("SELL")
        assert endpoint.accept(**strategy("short", "buy", "flat", -200))["is_new"]
        assert exits(position) == [D(1000)]

    def test_expired_reversal_closes_and_does_not_open(self, endpoint: AlertEndpoint) -> None:
        position = endpoint.trade()
        reversal = strategy("long", "sell", "short", 0, valid_until=at(-3))
        response = endpoint.accept(**reversal)
        assert (exits(position), len(response["signals"])) == ([D(1000)], 1)
        assert "opened no short trade: valid_until" in response["summary"]
        assert not Signal.objects.filter(feed=endpoint.feed, direction="SELL").exists()

    def test_old_reversal_closes_and_does_not_open(self, endpoint: AlertEndpoint) -> None:
        position = endpoint.trade()
        response = endpoint.accept(**strategy("long", "sell", "short", -200))
        assert exits(position) == [D(1000)]
        assert "; opened no short trade: " in response["summary"]
        assert len(response["signals"]) == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("timed", [True, False], ids=["timed", "plain"])
def test_equal_closes_at_the_same_moment_act_once(
    world: World, as_web: AsWeb, *, timed: bool
) -> None:
    endpoint = AlertEndpoint(world, as_web)
    position = endpoint.trade()
    body = {**HALF, "timenow": at(0)} if timed else HALF
    responses: list[Any] = []

    def post() -> None:
        try:
            client = Client()
            response = answer_of(
                client.post(endpoint.path, json.dumps(body), content_type="text/plain")
            )
            responses.append((response.status_code, response.json()["is_new"]))
        finally:
            connection.close()

    threads = [Thread(target=post) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(responses) == [(200, False)] * 3 + [(201, True)]
    assert exits(position) == [D(500)]
    assert ReceivedAlert.objects.count() == 1


def test_received_alerts_are_removed_after_a_week(endpoint: AlertEndpoint, world: World) -> None:
    other = Feed.objects.get(pk=world.feed.pk)
    for number in range(3):
        ReceivedAlert.objects.create(feed=other, key=str(number), change="flat", summary="s")
    minutes_pass(8 * 24 * 60)
    kept = ReceivedAlert.objects.create(feed=other, key="k", change="flat", summary="s")
    endpoint.accept(**strategy("long", "sell", "flat", 0))
    assert list(ReceivedAlert.objects.filter(feed=other)) == [kept]
    assert ReceivedAlert.objects.filter(feed=endpoint.feed).count() == 1


def test_open_signals_are_selected_by_feed_symbol_and_side(
    endpoint: AlertEndpoint, world: World
) -> None:
    """Open: with a position, or with an order that is pending or at a broker."""
    held, short = endpoint.trade(), endpoint.trade("SELL")
    flat = endpoint.trade()
    ExecutionPosition.objects.filter(pk=flat.pk).update(quantity=0)
    fields: dict[str, Any] = {"feed": endpoint.feed, "approval": "APPROVED", "direction": "BUY"}
    waiting, working, ended, elsewhere = (
        Signal.objects.create(currency_pair=pair, published_at=market_now(), **fields)
        for pair in ("EUR/USD", "EUR/USD", "EUR/USD", "GBP/USD")
    )
    for signal, status in (
        (waiting, "PENDING"), (working, "SUBMITTED"), (ended, "CANCELLED"), (elsewhere, "PENDING"),
    ):  # fmt: skip
        Order.objects.create(
            connection=endpoint.account, signal=signal, leg="entry", pair=signal.currency_pair,
            side="BUY", order_type="MARKET", time_in_force="GTC", quantity=D(1), status=status,
        )  # fmt: skip
    open_longs_and_shorts = [
        (open_signal.id, open_signal.direction)
        for open_signal in open_signals(endpoint.feed.pk, "EUR/USD")
    ]
    longs = [held.signal_id, waiting.pk, working.pk]
    assert open_longs_and_shorts == sorted(
        [(pk, "BUY") for pk in longs] + [(short.signal_id, "SELL")]
    )
    open_longs = open_signals(endpoint.feed.pk, "EUR/USD", Direction.BUY)
    assert [open_signal.id for open_signal in open_longs] == sorted(longs)
    assert [open_signal.id for open_signal in open_signals(world.feed.pk, "EUR/USD")] == [
        world.published.pk
    ]


def test_unfilled_exits_do_not_make_alerts_publish_ever_more_closes(
    endpoint: AlertEndpoint, world: World
) -> None:
    held = [endpoint.trade() for _ in range(MAX_CLOSED_AGAIN + 5)]
    for position in held:
        Signal.objects.create(
            feed=endpoint.feed, action="CLOSE", refers_to_id=position.signal_id,
            approval="APPROVED", currency_pair="EUR/USD", direction="BUY",
            published_at=market_now(),
        )  # fmt: skip
    current = endpoint.trade()
    response = endpoint.accept(**CLOSE)
    assert len(response["signals"]) == MAX_CLOSED_AGAIN + 1
    oldest = ", ".join(f"S-{position.signal_id}" for position in held[:3])
    assert response["summary"].endswith(
        f"and 18 more; skipped {oldest} and 2 more, which this feed has closed before and "
        "accounts still hold: close each by refers_to."
    )
    assert [bool(exits(position)) for position in held] == [False] * 5 + [True] * MAX_CLOSED_AGAIN
    assert exits(current) == [D(1000)]
