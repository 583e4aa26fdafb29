"""The registry of the numbered checks, each with what it needs."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from brokers.account_capabilities import Capabilities
from brokers.types import ExitSafety, OrderType, TimeInForce
from conformance.harness import HarnessFeature, InjectedFault

if TYPE_CHECKING:
    from conformance.scenario import Scenario

CheckFunction = Callable[["Scenario"], Awaitable[None]]


class CheckFailed(Exception):
    """The adapter does not do what it must; the text describes what it did."""


class Ability(StrEnum):
    """What an account must claim for a check to apply."""

    MARKET = "market orders"
    LIMIT = "limit orders"
    STOP = "stop orders"
    GTC = "orders good till cancelled"
    DAY = "orders for the day"
    IOC = "immediate or cancel"
    FOK = "fill or kill"
    STOPS = "stops and targets kept by the broker"
    MODIFY = "levels that can be moved"
    PARTS = "closing a part"
    EVENTS = "events"
    PRICE_STREAM = "a stream of prices"
    QUOTES = "prices on request"
    WHAT_IF = "what-if"
    LOOKUP = "look-up by our id"
    FILLS = "executions since a time"
    LISTING = "a list of its orders and executions"
    UNIQUE_IDS = "refusal of repeated ids"
    SUBMIT_MANY = "many orders in one call"
    CREDENTIALS = "credentials of its own"
    NO_REVERSE = "an exit that names its position or only reduces"


IS_SUPPORTED: Mapping[Ability, Callable[[Capabilities], bool]] = {
    Ability.MARKET: lambda can: OrderType.MARKET in can.order_types,
    Ability.LIMIT: lambda can: OrderType.LIMIT in can.order_types,
    Ability.STOP: lambda can: OrderType.STOP in can.order_types,
    Ability.GTC: lambda can: TimeInForce.GTC in can.times_in_force,
    Ability.DAY: lambda can: TimeInForce.DAY in can.times_in_force,
    Ability.IOC: lambda can: TimeInForce.IOC in can.times_in_force,
    Ability.FOK: lambda can: TimeInForce.FOK in can.times_in_force,
    Ability.STOPS: lambda can: can.native_stops,
    Ability.MODIFY: lambda can: can.modify and can.native_stops,
    Ability.PARTS: lambda can: can.partial_close,
    Ability.EVENTS: lambda can: can.event_stream,
    Ability.PRICE_STREAM: lambda can: can.price_stream,
    Ability.QUOTES: lambda can: can.quotes,
    Ability.WHAT_IF: lambda can: can.what_if,
    Ability.LOOKUP: lambda can: can.lookup_horizon is not None,
    Ability.FILLS: lambda can: can.fills_horizon is not None,
    Ability.LISTING: lambda can: can.lists_orders,
    Ability.UNIQUE_IDS: lambda can: can.refuses_repeated_ids,
    Ability.SUBMIT_MANY: lambda can: can.submit_many,
    Ability.CREDENTIALS: lambda can: can.needs_credentials,
    Ability.NO_REVERSE: lambda can: can.exit_safety in (ExitSafety.TICKET, ExitSafety.REDUCE_ONLY),
}

Need = HarnessFeature | InjectedFault | Ability


@dataclass(frozen=True, slots=True)
class Case:
    """One check. number: stable, never reused. description: what it shows, in a sentence."""

    number: str
    name: str
    description: str
    needs: tuple[Need, ...]
    work: CheckFunction


_cases: dict[str, Case] = {}


def case(number: int, name: str, *needs: Need) -> Callable[[CheckFunction], CheckFunction]:
    """Register a function as a check; its docstring is the description."""

    def register(work: CheckFunction) -> CheckFunction:
        key = f"C{number:02d}"
        if key in _cases:
            raise ValueError(f"two checks are numbered {key}")
        description = " ".join((work.__doc__ or "").split())
        _cases[key] = Case(key, name, description, needs, work)
        return work

    return register


def registered() -> list[Case]:
    """Return every registered check, by number."""
    return sorted(_cases.values(), key=lambda one: int(one.number[1:]))


def expect(is_so: object, message: str) -> None:
    """Raise CheckFailed with `message` if `is_so` is false."""
    if not is_so:
        raise CheckFailed(message)
