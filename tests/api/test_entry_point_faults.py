"""Wrong entries and follow-ups have the same faults at every entry point."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from itertools import product
from typing import Any

from common.clocks import market_now
from signals.models import Action, Feed, Signal
from signals.reading.field_table import BY_NAME, FIELDS, EntryPoint, names_of
from tests.api.entry_fields import LATER, LIMIT, STOP, TRAILING, TWAP, feed, written
from tests.api.entry_points import (
    ENTRY,
    ENTRY_POINTS,
    TARGETS,
    alert,
    api,
    file,
    signal_form,
    takes,
)
from tests.api.factories import World
from tests.matrix import WALK_TIME, Cell, Walk

__all__ = ["feed"]
BAD: dict[str, tuple[dict[str, Any], set[tuple[str, str]]]] = {
    "stop on the wrong side": (LIMIT | {"sl": "1.11"}, {("STOP_WRONG_SIDE", "sl")}),
    "target on the wrong side": (
        LIMIT | {"targets": [{"price": "1.09", "fraction": "1"}]},
        {("TARGET_WRONG_SIDE", "target_prices")},
    ),
    "fractions above 1": (
        LIMIT | {"targets": [{**TARGETS[0], "fraction": "0.9"}, TARGETS[1]]},
        {("TARGET_FRACTIONS", "target_prices")},
    ),
    "limit without its price": ({"order_type": "LIMIT"}, {("PRICE_REQUIRED", "open_price")}),
    "stop-limit without its prices": (
        {"order_type": "STOP_LIMIT"},
        {("PRICE_REQUIRED", "open_price"), ("PRICE_REQUIRED", "stop_price")},
    ),
    "stop-limit that ends at once": (
        {"order_type": "STOP_LIMIT", "open_price": "1.12", "stop_price": "1.11",
         "time_in_force": "IOC"},
        {("FIELD_INVALID", "time_in_force")},
    ),
    "trigger of a limit order": (LIMIT | {"stop_price": "1.1"}, {("FIELD_INVALID", "stop_price")}),
    "trailing stop in slices": (
        TRAILING | TWAP, {("FIELD_INVALID", "order_type")},
    ),
    "two distances": (TRAILING | {"trail_pips": "5"}, {("FIELD_INVALID", "trail_pips")}),
    "no distance": ({"order_type": "TRAILING_STOP"}, {("FIELD_REQUIRED", "trail_distance")}),
    "distance of a limit order": (
        LIMIT | {"trail_percent": "1"}, {("FIELD_INVALID", "trail_percent")},
    ),
    "distance above the price": (
        {"order_type": "TRAILING_STOP", "trail_percent": "100"},
        {("FIELD_INVALID", "trail_percent")},
    ),
    "end is missing": (LIMIT | {"time_in_force": "GTD"}, {("FIELD_REQUIRED", "valid_until")}),
    "slippage of a stop order": (
        STOP | {"max_slippage": "2"}, {("FIELD_INVALID", "max_slippage_pips")},
    ),
    "pips of a coin": (
        LIMIT | {"symbol": "BTCUSDT", "max_spread": "2", "max_spread_unit": "PIPS",
                 "stop_rule_unit": "PIPS", "trailing_distance": "4"},
        {("FIELD_INVALID", "max_spread_unit"), ("FIELD_INVALID", "stop_rule_unit")},
    ),
    "break-even after a target that is not there": (
        LIMIT | {"break_even_target": "3"}, {("FIELD_INVALID", "break_even_target")},
    ),
    "state without its signal": (
        {"after_state": "CLOSED", "close_when_state": "CLOSED"},
        {("FIELD_INVALID", "after_state"), ("FIELD_INVALID", "close_when_state")},
    ),
    "signal without its state": (
        {"after_signal": "", "close_when_signal": ""},
        {("FIELD_REQUIRED", "after_state"), ("FIELD_REQUIRED", "close_when_state")},
    ),
    "closed before it begins": (
        {"close_at": LATER, "not_before": LATER}, {("FIELD_INVALID", "close_at")},
    ),
    "closing time that has passed": (
        LIMIT | {"close_at": datetime(2020, 1, 1, tzinfo=UTC)}, {("SIGNAL_ENDED", "close_at")},
    ),
    "slices without their number and with a bad limit": (
        {"execution_style": "VWAP", "price_limit": "1.04", "slice_variation": "60"},
        {("FIELD_REQUIRED", "duration_seconds"), ("FIELD_REQUIRED", "slice_count"),
         ("FIELD_INVALID", "price_limit"), ("FIELD_INVALID", "slice_variation")},
    ),
    "style without a style": (
        {"slice_count": "5", "at_end": "MARKET"},
        {("FIELD_INVALID", "slice_count"), ("FIELD_INVALID", "at_end")},
    ),
    "a currency that is none": (
        LIMIT | {"provider_currency": "us$"}, {("FIELD_INVALID", "provider_currency")},
    ),
    "several faults": (
        {"order_type": "STOP_LIMIT", "stop_price": "1.1", "open_price": "1.11",
         "sl": "1.105", "time_in_force": "FOK", "max_slippage": "1", "break_even_target": "9",
         "provider_currency": "?"},
        {("STOP_WRONG_SIDE", "sl"), ("FIELD_INVALID", "time_in_force"),
         ("FIELD_INVALID", "max_slippage_pips"), ("FIELD_INVALID", "break_even_target"),
         ("FIELD_INVALID", "provider_currency")},
    ),
}  # fmt: skip


@WALK_TIME
def test_faults_are_the_same_at_every_entry_point(world: World, feed: Feed) -> None:
    signals = Signal.objects.count()
    with Walk() as walk:
        for entry_point, (kind, send) in walk.each(ENTRY_POINTS.items()):
            taken = {
                name: (values, faults)
                for name, (sent, faults) in BAD.items()
                if takes(kind, values := written(sent, entry_point))
            }
            assert len(taken) >= 10, entry_point
            for name, (values, faults) in taken.items():
                with walk.cell(name, entry_point) as cell:
                    cell.expect(faults, send(world, feed, values), "faults")
                    cell.expect(signals, Signal.objects.count(), "signals")


FOLLOW_UPS: dict[str, tuple[dict[str, Any], set[tuple[str, str]]]] = {
    "entry's fields in a MODIFY": (
        {"action": "MODIFY", "sl": "1.06", "max_spread": "2", "not_before": LATER,
         "trail_pips": "4", "slice_count": "4"},
        {("FIELD_INVALID", "max_spread"), ("FIELD_INVALID", "not_before"),
         ("FIELD_INVALID", "trail_pips"), ("FIELD_INVALID", "slice_count")},
    ),
    "levels in a CLOSE": (
        {"action": "CLOSE", "sl": "1.06", "close_at": LATER},
        {("FIELD_INVALID", "sl"), ("FIELD_INVALID", "close_at")},
    ),
    "nothing to change": ({"action": "MODIFY"}, {("FIELD_REQUIRED", "sl")}),
    "levels on the wrong sides": (
        {"action": "MODIFY", "sl": "1.3", "targets": TARGETS},
        {("TARGET_WRONG_SIDE", "target_prices")},
    ),
    "a price that the entry has not": (
        {"action": "MODIFY", "open_price": "1.1"}, {("FIELD_INVALID", "open_price")},
    ),
    "a limit of slices of one order": (
        {"action": "MODIFY", "price_limit": "1.1"}, {("FIELD_INVALID", "price_limit")},
    ),
}  # fmt: skip
SEND = {"API": api, "file": file, "alert": alert, "form": signal_form}


def expect_follow_up(cell: Cell, world: World, entry: Signal, entry_point: str, name: str) -> None:
    """Send a follow-up of an entry; expect its faults."""
    sent, faults = (FOLLOW_UPS | OF_SLICES)[name]
    same = {"refers_to": str(entry.pk)}
    if entry_point == "form":
        same |= {"symbol": "EUR/USD", "direction": "BUY"}
    values = {k: v for k, v in written(sent, entry_point).items() if k in sent or k in same}
    cell.expect(faults, SEND[entry_point](world, entry.feed, {**values, **same}), "faults")


@WALK_TIME
def test_follow_up_has_the_same_faults_at_every_entry_point(world: World, feed: Feed) -> None:
    first = Signal.objects.get(external_id="first")
    with Walk() as walk:
        for entry_point, name in walk.each(product(SEND, FOLLOW_UPS)):
            with walk.cell(name, entry_point) as cell:
                expect_follow_up(cell, world, first, entry_point, name)
                cell.expect(0, Signal.objects.filter(action__in=FOLLOW).count(), "follow-ups")


OF_SLICES: dict[str, tuple[dict[str, Any], set[tuple[str, str]]]] = {
    "below the new stop": (
        {"action": "MODIFY", "sl": "1.06", "price_limit": "1.05"},
        {("FIELD_INVALID", "price_limit")},
    ),
    "below the stop that the entry has": (
        {"action": "MODIFY", "price_limit": "1.04"}, {("FIELD_INVALID", "price_limit")},
    ),
    "above it": ({"action": "MODIFY", "price_limit": "1.15"}, set()),
}  # fmt: skip


@WALK_TIME
def test_price_limit_of_slices_is_modified_at_every_entry_point(world: World, feed: Feed) -> None:
    assert api(world, feed, {**ENTRY, **TWAP, "order_type": None, "open_price": None,
                             "external_id": "sliced"}) == set()  # fmt: skip
    Signal.objects.filter(external_id="sliced").update(published_at=market_now())
    sliced = Signal.objects.get(external_id="sliced")
    with Walk() as walk:
        for entry_point, name in walk.each(product(SEND, OF_SLICES)):
            with walk.cell(name, entry_point) as cell:
                expect_follow_up(cell, world, sliced, entry_point, name)
                limits = Signal.objects.filter(action="MODIFY").values_list(
                    "price_limit", flat=True
                )
                cell.expect([D("1.15")] if name == "above it" else [], list(limits), "limits")


FOLLOW = (Action.MODIFY, Action.CLOSE)


def test_alert_that_closes_a_symbol_takes_the_fields_of_a_close(world: World, feed: Feed) -> None:
    taken = set(names_of(EntryPoint.CLOSE_ALERT))
    assert taken == {field.name for field in FIELDS if Action.CLOSE in field.actions} - {
        "refers_to", "refers_to_external_id",
    }  # fmt: skip
    refused = {"sl": "1.06", "max_spread": "2", "close_at": LATER.isoformat(), "tp": "1.2"}
    closing = {"action": "CLOSE", "ticker": "EURUSD"}
    columns = {BY_NAME[name].column or name for name in refused}
    assert alert(world, feed, closing | refused) == {("FIELD_INVALID", name) for name in columns}
    wrong = {"action": "CLOSE", "ticker": "EURUSD", "feed": "other"}
    assert alert(world, feed, wrong) == {("FIELD_INVALID", "feed")}
    ended = (market_now() - timedelta(hours=1)).isoformat()
    both = {"action": "CLOSE", "ticker": "EURUSD", "valid_until": ended, "valid_for": 60}
    assert alert(world, feed, both) == {("FIELD_INVALID", "valid_until")}


def test_close_signals_have_what_their_alert_stated(world: World) -> None:
    stated = {"note": "done", "strategy_id": "s", "trade_plan_id": "p", "valid_for": 600}
    closing = {"action": "CLOSE", "ticker": "EURUSD", "close_fraction": "0.5"}
    assert alert(world, world.published.feed, closing | stated) == set()
    signal = Signal.objects.latest("id")
    assert (signal.action, signal.refers_to, signal.close_fraction) == (
        "CLOSE", world.published, D("0.5"),
    )  # fmt: skip
    assert (signal.note, signal.strategy_id, signal.trade_plan_id) == ("done", "s", "p")
    assert signal.valid_until is not None
    assert signal.valid_until < market_now() + timedelta(minutes=11)
