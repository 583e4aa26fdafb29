"""The registry of the numbered checks, each with what it needs."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from brokers.account_capabilities import Capabilities
from brokers.types import ExitSafety, OrderField, OrderType, TimeInForce
from conformance.harness import HarnessFeature, InjectedFault

CheckFunction = Callable[[Any], Awaitable[None]]  # of a `Scenario`, which imports this module


class CheckFailed(Exception):
    """The adapter does not do what it must; the text describes what it did."""


class Capability(StrEnum):
    """A capability that an account must declare for a check to apply."""

    MARKET = "market orders"
    LIMIT = "limit orders"
    STOP = "stop orders"
    STOP_LIMIT = "stop-limit orders"
    TRAILING_STOP = "trailing stop orders"
    GTC = "orders good till cancelled"
    GTD = "orders good till a date"
    DAY = "orders for the day"
    IOC = "immediate or cancel"
    FOK = "fill or kill"
    STOPS = "stops and targets kept by the broker"
    MODIFY = "levels that can be moved"
    CHANGE_PRICE = "working orders whose price can be changed"
    CHANGE_QUANTITY = "working orders whose quantity can be changed"
    PARTS = "closing a part"
    EVENTS = "events"
    PRICE_STREAM = "a stream of prices"
    QUOTES = "prices on request"
    WHAT_IF = "what-if"
    LOOKUP = "look-up by our id"
    FILLS = "executions since a time"
    LISTING = "a list of its orders and executions"
    CASH_FLOWS = "deposits and withdrawals"
    UNIQUE_IDS = "refusal of repeated ids"
    SUBMIT_MANY = "many orders in one call"
    CREDENTIALS = "credentials of its own"
    NO_REVERSE = "an exit that names its position or only reduces"


IS_SUPPORTED: Mapping[Capability, Callable[[Capabilities], bool]] = {
    Capability.MARKET: lambda can: OrderType.MARKET in can.order_types,
    Capability.LIMIT: lambda can: OrderType.LIMIT in can.order_types,
    Capability.STOP: lambda can: OrderType.STOP in can.order_types,
    Capability.STOP_LIMIT: lambda can: OrderType.STOP_LIMIT in can.order_types,
    Capability.TRAILING_STOP: lambda can: OrderType.TRAILING_STOP in can.order_types,
    Capability.GTD: lambda can: TimeInForce.GTD in can.times_in_force,
    Capability.GTC: lambda can: TimeInForce.GTC in can.times_in_force,
    Capability.DAY: lambda can: TimeInForce.DAY in can.times_in_force,
    Capability.IOC: lambda can: TimeInForce.IOC in can.times_in_force,
    Capability.FOK: lambda can: TimeInForce.FOK in can.times_in_force,
    Capability.STOPS: lambda can: can.native_stops,
    Capability.MODIFY: lambda can: can.modify and can.native_stops,
    Capability.CHANGE_PRICE: lambda can: OrderField.PRICE in can.changes_orders,
    Capability.CHANGE_QUANTITY: lambda can: OrderField.QUANTITY in can.changes_orders,
    Capability.PARTS: lambda can: can.partial_close,
    Capability.EVENTS: lambda can: can.event_stream,
    Capability.PRICE_STREAM: lambda can: can.price_stream,
    Capability.QUOTES: lambda can: can.quotes,
    Capability.WHAT_IF: lambda can: can.what_if,
    Capability.LOOKUP: lambda can: can.lookup_horizon is not None,
    Capability.FILLS: lambda can: can.fills_horizon is not None,
    Capability.LISTING: lambda can: can.lists_orders,
    Capability.CASH_FLOWS: lambda can: can.cash_flows_horizon is not None,
    Capability.UNIQUE_IDS: lambda can: can.refuses_repeated_ids,
    Capability.SUBMIT_MANY: lambda can: can.submit_many,
    Capability.CREDENTIALS: lambda can: can.needs_credentials,
    Capability.NO_REVERSE: lambda can: (
        can.exit_safety in (ExitSafety.TICKET, ExitSafety.REDUCE_ONLY)
    ),
}

Need = HarnessFeature | InjectedFault | Capability


@dataclass(frozen=True, slots=True)
class ConformanceCheck:
    """One check. number: stable, never reused. description: what it shows, in a sentence."""

    number: str
    name: str
    description: str
    needs: tuple[Need, ...]
    function: CheckFunction


def is_engine_check(item: ConformanceCheck) -> bool:
    """Whether a check needs an engine beside the adapter."""
    return HarnessFeature.ENGINE in item.needs


_checks: dict[str, ConformanceCheck] = {}


def check(number: int, name: str, *needs: Need) -> Callable[[CheckFunction], CheckFunction]:
    """Register a function as a check; its docstring is the description."""

    def register(function: CheckFunction) -> CheckFunction:
        key = f"C{number:02d}"
        if key in _checks:
            raise ValueError(f"two checks are numbered {key}")
        description = " ".join((function.__doc__ or "").split())
        _checks[key] = ConformanceCheck(key, name, description, needs, function)
        return function

    return register


def registered() -> list[ConformanceCheck]:
    """Return every registered check, by number."""
    return sorted(_checks.values(), key=lambda one: int(one.number[1:]))


def expect(is_so: object, message: str) -> None:
    """Raise CheckFailed with `message` if `is_so` is false."""
    if not is_so:
        raise CheckFailed(message)
