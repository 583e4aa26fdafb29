"""Every field of a signal at every entry point: it has an effect, or the same fault."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from itertools import product
from typing import Any

import pytest

from common.clocks import market_now
from connections.models import Subscription
from signals.draft_serializers import NewSignalSerializer
from signals.field_table import BY_NAME, FIELDS, LEFT_OUT, MODIFIABLE, EntryPoint, names_of
from signals.models import Action, Feed, Signal
from tests.api.entry_points import (
    ENTRY,
    ENTRY_POINTS,
    TARGETS,
    alert,
    api,
    file,
    signal_form,
    stored,
    takes,
)
from tests.api.factories import World
from tests.matrix import WALK_TIME, Cell, Walk

LATER = datetime(2099, 1, 2, 10, 30, tzinfo=UTC)
LIMIT = {"order_type": "LIMIT", "open_price": "1.1"}
STOP = {"order_type": "STOP", "stop_price": "1.12"}
TRAILING = {"order_type": "TRAILING_STOP", "trail_distance": "0.01"}
TWAP = {"execution_style": "TWAP", "duration_seconds": "600", "slice_count": "6"}
AFTER = {"after_signal": "", "after_state": "CLOSED"}
WHEN = {"close_when_signal": "", "close_when_state": "CLOSED"}
# Of each field that an entry has: what is sent with it, and the column with its value.
EXAMPLES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "action": ({"action": "OPEN"}, {"action": "OPEN"}),
    "symbol": ({}, {"currency_pair": "EUR/USD"}),
    "direction": ({}, {"direction": "BUY"}),
    "order_type": (LIMIT, {"order_type": "LIMIT"}),
    "open_price": (LIMIT, {"open_price": D("1.1")}),
    "stop_price": (STOP, {"stop_price": D("1.12")}),
    "trail_distance": (TRAILING, {"trail_distance": D("0.01")}),
    "trail_pips": ({"order_type": "TRAILING_STOP", "trail_pips": "20"}, {"trail_pips": D(20)}),
    "trail_percent": (
        {"order_type": "TRAILING_STOP", "trail_percent": "1"}, {"trail_percent": D(1)},
    ),
    "trail_atr": ({"order_type": "TRAILING_STOP", "trail_atr": "2"}, {"trail_atr": D(2)}),
    "trail_atr_minutes": (
        {"order_type": "TRAILING_STOP", "trail_atr": "2", "trail_atr_minutes": "15"},
        {"trail_atr_minutes": 15},
    ),
    "activation_price": (
        TRAILING | {"activation_price": "1.11"}, {"activation_price": D("1.11")},
    ),
    "not_before": ({"not_before": LATER}, {"not_before": LATER}),
    "after_signal": (AFTER, {"after_signal_id": ...}),
    "after_signal_external_id": (
        {"after_signal_external_id": "first", "after_state": "CLOSED"}, {"after_signal_id": ...},
    ),
    "after_state": (AFTER, {"after_state": "CLOSED"}),
    "close_at": (LIMIT | {"close_at": LATER}, {"close_at": LATER, "valid_until": LATER}),
    "close_after_seconds": (
        LIMIT | {"close_after_seconds": "600"}, {"close_after_seconds": 600},
    ),
    "close_when_signal": (WHEN, {"close_when_signal_id": ...}),
    "close_when_signal_external_id": (
        {"close_when_signal_external_id": "first", "close_when_state": "CLOSED"},
        {"close_when_signal_id": ...},
    ),
    "close_when_state": (WHEN, {"close_when_state": "CLOSED"}),
    "sl": (LIMIT, {"sl": D("1.05")}),
    "tp": (LIMIT | {"targets": None, "tp": "1.25"}, {"target_prices": [D("1.25")]}),
    "targets": (
        LIMIT, {"target_prices": [D("1.2"), D("1.3")], "target_fractions": [D("0.5"), D("0.25")]},
    ),
    "time_in_force": (
        LIMIT | {"time_in_force": "GTD", "valid_until": LATER}, {"time_in_force": "GTD"},
    ),
    "valid_until": (LIMIT | {"valid_until": LATER}, {"valid_until": LATER}),
    "valid_for": (LIMIT | {"valid_for": "600"}, {"valid_until": ...}),
    "max_slippage": (
        {"max_slippage": "3", "max_slippage_unit": "TICKS"}, {"max_slippage_pips": D(3)},
    ),
    "max_slippage_unit": (
        {"max_slippage": "3", "max_slippage_unit": "TICKS"}, {"max_slippage_unit": "TICKS"},
    ),
    "max_slippage_pips": (
        {"max_slippage_pips": "3"}, {"max_slippage_pips": D(3), "max_slippage_unit": "PIPS"},
    ),
    "max_spread": (LIMIT | {"max_spread": "2"}, {"max_spread": D(2)}),
    "max_spread_unit": (
        LIMIT | {"max_spread": "2", "max_spread_unit": "BPS"}, {"max_spread_unit": "BPS"},
    ),
    "break_even_target": (LIMIT | {"break_even_target": "1"}, {"break_even_target": 1}),
    "break_even_profit": (LIMIT | {"break_even_profit": "5"}, {"break_even_profit": D(5)}),
    "break_even_offset": (
        LIMIT | {"break_even_target": "1", "break_even_offset": "2"}, {"break_even_offset": D(2)},
    ),
    "trailing_distance": (LIMIT | {"trailing_distance": "9"}, {"trailing_distance": D(9)}),
    "trailing_step": (
        LIMIT | {"trailing_distance": "9", "trailing_step": "2"}, {"trailing_step": D(2)},
    ),
    "trailing_activation": (
        LIMIT | {"trailing_distance": "9", "trailing_activation": "4"},
        {"trailing_activation": D(4)},
    ),
    "stop_rule_unit": (
        LIMIT | {"trailing_distance": "9", "stop_rule_unit": "TICKS"}, {"stop_rule_unit": "TICKS"},
    ),
    "execution_style": (TWAP, {"execution_style": "TWAP"}),
    "duration_seconds": (TWAP, {"duration_seconds": 600}),
    "slice_count": (TWAP, {"slice_count": 6}),
    "slice_variation": (TWAP | {"slice_variation": "10"}, {"slice_variation": D(10)}),
    "price_limit": (TWAP | {"price_limit": "1.15"}, {"price_limit": D("1.15")}),
    "catch_up": (TWAP | {"catch_up": "SKIP"}, {"catch_up": "SKIP"}),
    "at_end": (TWAP | {"at_end": "MARKET"}, {"at_end": "MARKET"}),
    "strategy_id": (LIMIT | {"strategy_id": "s"}, {"strategy_id": "s"}),
    "trade_plan_id": (LIMIT | {"trade_plan_id": "p"}, {"trade_plan_id": "p"}),
    "risk_category": (LIMIT | {"risk_category": "large"}, {"risk_category": "large"}),
    "provider_quantity": (LIMIT | {"provider_quantity": "7"}, {"provider_quantity": D(7)}),
    "provider_equity": (LIMIT | {"provider_equity": "8"}, {"provider_equity": D(8)}),
    "provider_currency": (LIMIT | {"provider_currency": "usd"}, {"provider_currency": "USD"}),
    "external_id": (LIMIT | {"external_id": "mine"}, {"external_id": ...}),
    "note": (LIMIT | {"note": "hello"}, {"note": "hello"}),
}  # fmt: skip
# What is sent besides, when it is sent, and what an entry has not.
NOT_STORED = {"feed", "time", "refers_to", "refers_to_external_id", "close_fraction"}


@pytest.fixture
def feed(world: World) -> Feed:
    """Return Paula's feed without followers, with an open trade, S-`first`."""
    Subscription.objects.all().delete()
    assert api(world, world.public, {**ENTRY, "external_id": "first"}) == set()
    Signal.objects.filter(external_id="first").update(published_at=market_now())
    return world.public


def written(sent: dict[str, Any], entry_point: str) -> dict[str, Any]:
    """Return the fields as this entry point's sender writes them."""
    first = str(Signal.objects.get(external_id="first").pk)
    values = {**ENTRY, **sent}
    if entry_point in ("API pair", "pair form") and "order_type" not in values:
        values |= LIMIT
    named = {
        name: first for name in ("after_signal", "close_when_signal") if values.get(name) == ""
    }
    return {
        name: value.strftime("%Y-%m-%dT%H:%M" + ("" if "form" in entry_point else "+00:00"))
        if isinstance(value, datetime)
        else value
        for name, value in (values | named).items()
        if value is not None
    }


def test_table_has_the_fields_of_the_api() -> None:
    assert set(NewSignalSerializer().fields) == set(BY_NAME)
    assert set(EXAMPLES) | NOT_STORED == set(BY_NAME)
    for entry_point in EntryPoint:
        assert set(LEFT_OUT[entry_point]) <= set(BY_NAME), entry_point
        assert all(LEFT_OUT[entry_point].values()), entry_point
    assert set(MODIFIABLE) == {
        "sl", "stop_loss", "tp", "take_profit", "targets", "open_price", "price", "stop_price",
        "close_at", "close_when_signal", "close_when_signal_external_id", "close_when_state",
        "valid_until", "valid_for", "price_limit",
    }  # fmt: skip


def in_few_signals(names: list[str]) -> list[list[str]]:
    """Divide fields of entries: what is sent together, or with one of BASES, goes into one signal.

    Not together: fields that are sent with different values, that show in the same column, or of
    which a signal has only one (EITHER).
    """
    groups: list[list[str]] = []
    for name in names:
        group = next((one for one in groups if all(fit(name, other) for other in one)), None)
        if group is None:
            groups.append([name])
        else:
            group.append(name)
    return groups


BASES = LIMIT, TWAP
EITHER = {"break_even_target", "break_even_offset", "break_even_profit"}, {
    "close_at", "close_after_seconds", "valid_until", "valid_for", "time_in_force",
}  # fmt: skip


def fit(name: str, other: str) -> bool:
    """Return whether one signal shows the effects of both fields."""
    (sent, effect), (others, other_effect) = EXAMPLES[name], EXAMPLES[other]
    if effect.keys() & other_effect.keys() or any({name, other} <= either for either in EITHER):
        return False
    return sent == others or (
        any(all(one.items() >= base.items() for one in (sent, others)) for base in BASES)
        and all(others.get(key, value) == value for key, value in sent.items())
        and name not in others
        and other not in sent  # else the other field would never be sent without this one
    )


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
@WALK_TIME
def test_entry_point_takes_every_field_with_effect(
    world: World, feed: Feed, entry_point: str
) -> None:
    taken = set(names_of(ENTRY_POINTS[entry_point][0]))
    with Walk() as walk:
        for names in walk.each(in_few_signals([name for name in EXAMPLES if name in taken])):
            with walk.cell(", ".join(names), entry_point) as cell:
                expect_effects(cell, world, feed, entry_point, names)


def expect_effects(
    cell: Cell, world: World, feed: Feed, entry_point: str, names: list[str]
) -> None:
    """Send fields that one signal may have together; expect each in its column."""
    kind, send = ENTRY_POINTS[entry_point]
    sent = {key: value for name in names for key, value in EXAMPLES[name][0].items()}
    values = written(sent, entry_point)
    if entry_point == "strategy":
        values.pop("action", None)
    if kind is EntryPoint.STRATEGY or "pair" not in entry_point:
        values = {
            key: value
            for key, value in values.items()
            if key != "external_id" or "external_id" in names
        }
    before = Signal.objects.latest("id").pk
    cell.expect(set(), send(world, feed, values), f"faults of {values}")
    signal = stored()
    cell.expect(True, signal.pk > before, "is a new signal")
    for name in names:
        for attribute, value in EXAMPLES[name][1].items():
            found = getattr(signal, attribute)
            if value is not ...:
                cell.expect(value, found, f"{attribute} of {name}")
            elif found in (None, ""):
                cell.note(f"expected a value in {attribute} by {name}, found none")


@WALK_TIME
def test_entry_points_refuse_what_they_leave_out(world: World, feed: Feed) -> None:
    """A field that is not on a form cannot be sent."""
    values = {"close_fraction": "0.5", "refers_to": "1", "refers_to_external_id": "first"}
    with Walk() as walk:
        for entry_point, (kind, send) in walk.each(ENTRY_POINTS.items()):
            for name in LEFT_OUT[kind] if "form" not in entry_point else ():
                sent = EXAMPLES[name][0] if name in EXAMPLES else {name: values[name]}
                sent = {"action": "CLOSE"} if name == "action" else sent
                with walk.cell(name, entry_point) as cell:
                    faults = send(world, feed, written(sent, entry_point))
                    fault = ("FIELD_INVALID", BY_NAME[name].column or name)
                    cell.expect({fault}, faults & {fault}, f"of the faults {faults}")


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
