"""Of each field of an entry: what is sent with it, how senders write it, and its effect."""

from datetime import UTC, datetime
from decimal import Decimal as D
from typing import Any

import pytest

from common.clocks import market_now
from connections.models import Subscription
from signals.models import Feed, Signal
from signals.reading.field_table import EntryPoint, names_of
from tests.api.entry_points import ENTRY, ENTRY_POINTS, api, stored
from tests.api.factories import World
from tests.matrix import Cell, Walk

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


def walk_fields(world: World, feed: Feed, entry_point: str) -> None:
    """Send each field that an entry point takes; expect its effect."""
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
