"""Counts and times an adapter's calls, for /metrics: by operation and how they ended.

Only the outermost call counts: an adapter may implement one operation by another. `events` and
what belongs to it are polls of what a process already has, and are not counted.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

from brokers.base import BrokerAdapter, BrokerError, NotSent, OutcomeUnknown, ReadFailed, Rejected
from common.clocks import machine_time
from common.process.call_figures import FAILED, FIGURES, OK, Kind
from common.reason_codes import Code

OPERATIONS = (
    "connect", "test", "account", "instruments", "quote", "what_if", "submit", "cancel",
    "change_order", "modify", "find_order", "positions", "open_orders", "fills_since",
    "cash_flows", "funding", "clock",
)  # fmt: skip
REFUSED, NOT_SENT, UNANSWERED = "refused", "not_sent", "unanswered"
REFUSALS = frozenset({Code.MARKET_CLOSED, Code.UNKNOWN_SYMBOL_AT_BROKER, Code.NOT_SUPPORTED})
"""Codes of ReadFailed by which the broker has answered."""
_is_inside: ContextVar[bool] = ContextVar("is_inside", default=False)


def outcome_name(outcome: object) -> str:
    """Return how a call ended, from its answer or its exception. Pure."""
    match outcome:
        case Rejected():
            return REFUSED
        case ReadFailed() if outcome.code in REFUSALS:
            return REFUSED
        case NotSent():
            return NOT_SENT
        case OutcomeUnknown() | TimeoutError() | asyncio.CancelledError():
            return UNANSWERED
        case BaseException():
            return FAILED
    return OK


def count_calls(adapter: BrokerAdapter, broker_type: str) -> None:
    """Let this adapter's calls be counted from now on; a second call changes nothing.

    What an adapter does not define in its class, such as a method that it makes itself, is not.
    """
    own = getattr(adapter, "__dict__", None)
    if own is None:
        return  # of a third party, with slots
    made: dict[str, Callable[..., Awaitable[Any]]] = {
        operation: _counted(adapter, broker_type, operation) for operation in OPERATIONS
    }
    made["submit_many"] = _counted_orders(adapter, broker_type)
    own.update(
        {
            name: call
            for name, call in made.items()
            if name not in own and name in dir(type(adapter))
        }
    )


def _counted(
    adapter: BrokerAdapter, broker_type: str, operation: str
) -> Callable[..., Awaitable[Any]]:
    async def call(*args: Any, **options: Any) -> Any:
        method = getattr(type(adapter), operation)
        if _is_inside.get():
            return await method(adapter, *args, **options)
        token, began, outcome = _is_inside.set(True), machine_time(), FAILED
        try:
            answer = await method(adapter, *args, **options)
            outcome = OK
            return answer
        except (BrokerError, TimeoutError, asyncio.CancelledError) as error:
            outcome = outcome_name(error)
            raise
        finally:
            _is_inside.reset(token)
            FIGURES.count(Kind.BROKER, broker_type, operation, outcome, machine_time() - began)

    return call


def _counted_orders(adapter: BrokerAdapter, broker_type: str) -> Callable[..., Awaitable[None]]:
    """Return `submit_many` by which each order counts as one of the operation `submit`."""

    async def call(requests: Any, guard: Any, on_outcome: Any) -> None:
        method = type(adapter).submit_many
        if _is_inside.get():
            return await method(adapter, requests, guard, on_outcome)
        began, left = machine_time(), len(requests)

        def counted(request: Any, outcome: Any) -> None:
            nonlocal left
            left -= 1
            took = machine_time() - began
            FIGURES.count(Kind.BROKER, broker_type, "submit", outcome_name(outcome), took)
            on_outcome(request, outcome)

        token = _is_inside.set(True)
        try:
            await method(adapter, requests, guard, counted)
        finally:
            _is_inside.reset(token)
            for _ in range(left):
                took = machine_time() - began
                FIGURES.count(Kind.BROKER, broker_type, "submit", UNANSWERED, took)

    return call
