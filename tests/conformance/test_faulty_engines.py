"""Each of these engines has one fault, and the checks of the engine fail because of it.

A fault replaces one function or statement of the real engine. Only the checks that must detect it
run, on the quickest stages on which they apply. Faults that do not meet share an engine.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal as D
from functools import partial
from typing import Any, NamedTuple, cast

import pytest

from brokers.account_capabilities import Capabilities
from brokers.base import BrokerAdapter
from brokers.types import ConnectionSpec, OrderRequest, OrderType, Quote
from common.db.sql import IdRow, Query
from common.reason_codes import Code
from conformance.registry import is_engine_check
from conformance.runner import Mark, OpenHarness, Result, all_checks
from execution.exits.orders import ExitRequest
from execution.models import TriggerKind
from execution.monitoring import level_monitor, trigger_monitor
from execution.monitoring.stop_rules import StopRuleMonitor
from execution.reports import apply, broker_exits
from execution.submission import (
    claim_writes,
    conditions,
    first_slice,
    outgoing,
    slice_plans,
    triggers,
)
from execution.submission.outcomes import Trigger
from execution.submission.slicing import Slice, plan_slices
from positions import stop_rules
from positions.models import ExecutionPosition
from tests.conformance.engine import account
from tests.conformance.engine.runner import CASES, run_engine_checks
from tests.conformance.faulty_adapters import FaultyAdapter
from tests.conformance.stages import stages_of
from tests.conformance.stages.paper import opening

SECONDS = 4.0  # that a check waits: what a fault prevents never comes
Patch = pytest.MonkeyPatch


class TakesNoStops(FaultyAdapter):
    """Not a fault: a broker without stop orders, so that the engine holds them."""

    def capabilities(self, spec: ConnectionSpec) -> Capabilities:
        can: Capabilities = self.inner.capabilities(spec)
        stops = {OrderType.STOP, OrderType.STOP_LIMIT}
        return replace(can, order_types=can.order_types - stops)


def _without_stops(inner: BrokerAdapter) -> BrokerAdapter:
    return cast(BrokerAdapter, TakesNoStops(inner))


PAPER, NETTING, NO_STOPS, IBKR = "paper", "paper netting", "paper without stops", "ibkr"
STAGES: dict[str, tuple[str, Callable[[], OpenHarness]]] = {
    PAPER: ("paper", opening),
    NETTING: ("paper", partial(opening, "NETTING")),
    NO_STOPS: ("paper", partial(opening, wrap=_without_stops)),
    IBKR: ("ibkr", lambda: stages_of("ibkr")["ibkr"]),
}


# ---- entries ---------------------------------------------------------------------------------
def arms_at_the_market(patch: Patch) -> None:
    """A trigger fires at the price of the moment at which it is armed."""
    real = triggers.trigger_of

    def trigger_of(row: Any, signal: Any, instrument: Any, quote: Any, atr: Any = None) -> Any:
        trigger = real(row, signal, instrument, quote, atr)
        if not isinstance(trigger, Trigger) or trigger.kind is TriggerKind.TRAILING:
            return trigger
        return replace(trigger, level=quote.ask)

    patch.setattr(triggers, "trigger_of", trigger_of)


def follows_at_half_the_distance(patch: Patch) -> None:
    real: Any = triggers._distance
    patch.setattr(triggers, "_distance", lambda *about: real(*about) / 2)


def takes_percent_for_a_price(patch: Patch) -> None:
    def distance(signal: Any, *_: Any) -> Any:
        return signal.trail_distance or signal.trail_percent / 1000

    patch.setattr(triggers, "_distance", distance)


def ignores_the_activation_price(patch: Patch) -> None:
    """A trailing stop follows from the moment at which it is armed."""
    real = triggers.trigger_of

    def trigger_of(row: Any, signal: Any, instrument: Any, quote: Any, atr: Any = None) -> Any:
        return real(row, signal._replace(activation_price=None), instrument, quote, atr)

    patch.setattr(triggers, "trigger_of", trigger_of)


def labels_no_held_orders(patch: Patch) -> None:
    """An entry that the engine holds does not say so."""
    real = claim_writes.AWAIT_TRIGGERS
    code, other = Code.AWAITING_TRIGGER.value, Code.PRICE_AWAITED.value
    patch.setattr(
        claim_writes, "AWAIT_TRIGGERS",
        real.replace(f"SET reason = '{code}'", f"SET reason = '{other}'"),
    )  # fmt: skip


def sends_entries_at_market(patch: Patch) -> None:
    """An entry with a type that its broker takes arrives as a market order."""
    real = outgoing._request

    def request(*about: Any) -> OrderRequest:
        sent = real(*about)
        if sent.reduce_only:
            return sent
        return replace(
            sent, order_type=OrderType.MARKET, limit_price=None, stop_price=None,
            trail_distance=None,
        )  # fmt: skip

    patch.setattr(outgoing, "_request", request)


def sends_double(patch: Patch) -> None:
    real = outgoing._request

    def request(*about: Any) -> OrderRequest:
        sent = real(*about)
        return replace(sent, quantity=sent.quantity * 2)

    patch.setattr(outgoing, "_request", request)


def waits_for_no_condition(patch: Patch) -> None:
    patch.setattr(conditions, "verdict_of", lambda row, now: conditions.Verdict.HOLDS)


def never_sees_a_condition_hold(patch: Patch) -> None:
    patch.setattr(conditions, "verdict_of", lambda row, now: conditions.Verdict.WAITS)


def leaves_the_other_leg(patch: Patch) -> None:
    """The leg of an OCO pair that fires does not cancel the other one."""
    statement = str(trigger_monitor.FIRE)
    cancels = "WHERE o.id = l.id AND l.id <> m.id AND o.status = 'PENDING'"
    assert statement.count(cancels) == 1
    patch.setattr(trigger_monitor, "FIRE", Query(IdRow, statement.replace(cancels, "WHERE false")))


# ---- positions -------------------------------------------------------------------------------
def books_exits_of_brokers_as_external(patch: Patch) -> None:
    """What a broker closes at a stop or target is booked as its owner's close."""
    patch.setattr(broker_exits, "_leg_of", lambda *_: ("external-1", None))


def closes_half_at_a_level(patch: Patch) -> None:
    real = level_monitor._exit_request

    def exit_request(*about: Any) -> ExitRequest:
        return replace(real(*about), fraction=D("0.5"))

    patch.setattr(level_monitor, "_exit_request", exit_request)


def never_moves_to_break_even(patch: Patch) -> None:
    patch.setattr(stop_rules._Rule, "break_even_level", lambda rule: None)


def trails_in_both_directions(patch: Patch) -> None:
    """The stop follows the price wherever it goes."""

    def process_quotes(
        monitor: StopRuleMonitor, source_id: int, quotes: Sequence[Quote], waited: float = 0.0
    ) -> list[int]:
        if not quotes:
            return []
        positions = ExecutionPosition.objects.filter(
            price_source_id=source_id, quantity__gt=0, stop_rule__trailing_distance__isnull=False
        )
        for position in positions.select_related("stop_rule"):
            last = quotes[-1].bid - position.stop_rule.trailing_distance
            ExecutionPosition.objects.filter(pk=position.pk).update(sl=last)
        return []

    patch.setattr(StopRuleMonitor, "process_quotes", process_quotes)


def ignores_the_stops_level(patch: Patch) -> None:
    real = stop_rules._Rule.trailing_level
    patch.setattr(stop_rules._Rule, "trailing_level", lambda rule, ceiling=None: real(rule))


# ---- slices, and all together ----------------------------------------------------------------
def sends_all_slices_at_once(patch: Patch) -> None:
    def at_once(**about: Any) -> tuple[Slice, ...]:
        return tuple(replace(one, at=0) for one in plan_slices(**about))

    patch.setattr(first_slice, "plan_slices", at_once)


def sends_a_slice_twice(patch: Patch) -> None:
    def following(
        order_id: int, slices: Sequence[Slice], now: datetime
    ) -> Iterator[tuple[int, str, D | None, float]]:
        for number in (2, 3):
            yield order_id, f"entry-{number}", slices[1].quantity, 0.0

    patch.setattr(slice_plans, "_following", following)


def reads_no_volume(patch: Patch) -> None:
    patch.setattr(slice_plans, "quotes_by_day", lambda pairs, *, now: {})


def counts_half_of_each_execution(patch: Patch) -> None:
    real = apply._fill_record

    def fill_record(row: Any, fill: Any, rates: Any) -> tuple[Any, ...]:
        return real(row, replace(fill, quantity=fill.quantity / 2), rates)

    patch.setattr(apply, "_fill_record", fill_record)


class Fault(NamedTuple):
    """A fault, and of each check that detects it a part of why."""

    engine: Callable[[Patch], None]
    detected_by: dict[str, str]


class Engine(NamedTuple):
    """Stages with faults of which none changes what another one's checks look at.

    Together they take a third of the time.
    """

    stages: tuple[str, ...]
    faults: tuple[Fault, ...]


ENGINES = {
    "held stops": Engine((NO_STOPS,), (
        Fault(arms_at_the_market, {
            "C156": "it is entry", "C158": "it is entry", "C164": "it is entry",
        }),
    )),
    "labels and sizes": Engine((PAPER, NO_STOPS), (
        Fault(labels_no_held_orders, {"C156": "it is not held", "C167": "it is not held"}),
        Fault(sends_double, {"C157": "arrived instead of"}),
    )),
    "types": Engine((PAPER, IBKR), (
        Fault(sends_entries_at_market, {
            "C157": "a MARKET order arrived", "C159": "a MARKET order arrived",
            "C161": "a MARKET order arrived", "C167": "a MARKET order arrived",
        }),
        Fault(counts_half_of_each_execution, {"C179": "the broker holds"}),
    )),
    "what comes too early": Engine((PAPER,), (
        Fault(takes_percent_for_a_price, {"C162": "it is entry"}),
        Fault(waits_for_no_condition, {"C165": "before", "C166": "they are not held"}),
        Fault(leaves_the_other_leg, {"C167": "the other is"}),
        Fault(books_exits_of_brokers_as_external, {
            "C168": "it was closed by", "C170": "it was closed by",
        }),
        Fault(ignores_the_stops_level, {"C176": "its stop is not at"}),
        Fault(sends_all_slices_at_once, {"C177": "sent ", "C178": "sent "}),
    )),
    "what never comes": Engine((PAPER, NETTING), (
        Fault(ignores_the_activation_price, {"C163": "it is entry"}),
        Fault(never_sees_a_condition_hold, {
            "C165": "nothing has arrived", "C166": "nothing has arrived",
        }),
        Fault(closes_half_at_a_level, {"C169": "closed", "C171": "closed"}),
        Fault(never_moves_to_break_even, {
            "C172": "its stop is not at", "C173": "its stop is not at",
        }),
        Fault(sends_a_slice_twice, {"C177": "more slices arrived"}),
    )),
    "distances": Engine((PAPER, NETTING), (
        Fault(follows_at_half_the_distance, {
            "C160": "it is entry", "C162": "it is entry", "C163": "it is entry",
        }),
        Fault(trails_in_both_directions, {
            "C174": "its stop moved to", "C175": "its stop moved to",
        }),
        Fault(reads_no_volume, {"C178": "0 days of volume"}),
    )),
}  # fmt: skip


def results_of(engine: Engine) -> dict[str, list[Result]]:
    """Run the checks of an engine's faults on its stages; return the results by stage."""
    numbers = {number for fault in engine.faults for number in fault.detected_by}
    checks = [one for one in all_checks() if one.number in numbers]
    stages = [(kind, name, open_()) for name in engine.stages for kind, open_ in [STAGES[name]]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(account, "SECONDS", SECONDS)
        for fault in engine.faults:
            fault.engine(patch)
        return run_engine_checks(stages, checks)


@pytest.mark.exhaustive
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", ENGINES)
def test_faulty_engine_is_detected(name: str) -> None:
    """By each check of each fault, on the stages where that applies, and for the right reason."""
    found = results_of(ENGINES[name])
    missed = []
    for fault in ENGINES[name].faults:
        for number, why in fault.detected_by.items():
            results = [one for of in found.values() for one in of if one.number == number]
            applying = [one for one in results if one.mark is not Mark.NOT_APPLICABLE]
            if not applying or any(
                (one.mark, why in one.why) != (Mark.FAIL, True) for one in applying
            ):
                missed.append((fault.engine.__name__, results))
    assert missed == []


def test_each_engine_check_can_fail() -> None:
    """A new one needs a fault that it detects."""
    faults = [fault for engine in ENGINES.values() for fault in engine.faults]
    detected = {number for fault in faults for number in fault.detected_by}
    assert detected == set(CASES) == {one.number for one in all_checks() if is_engine_check(one)}
