"""What can be asked over the line, and how values are written: JSON, decimals as text.

One table of calls; both sides read it, so they cannot differ. To add a call: a line here, a method
on both adapters (or a function in `venue`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson
from pydantic import TypeAdapter

from brokers.base import BrokerError, NotSent, Outcome, OutcomeUnknown, ReadFailed, Rejected
from brokers.journal import Journal
from brokers.messages import (
    AccountState,
    BrokerOrder,
    BrokerPosition,
    CancelRequest,
    Check,
    ConnectionSpec,
    Instrument,
    ModifyRequest,
    OrderReport,
    OrderRequest,
    Quote,
    WhatIf,
)
from common.codes import Code

VERSION = 4
SUBMIT, LISTEN, HUSH = "submit_many", "stream_events", "hush"
ERRORS: dict[str, type[BrokerError]] = {
    kind.__name__: kind for kind in (NotSent, Rejected, OutcomeUnknown, ReadFailed)
}
SPEC: TypeAdapter[ConnectionSpec] = TypeAdapter(ConnectionSpec)
REQUEST: TypeAdapter[OrderRequest] = TypeAdapter(OrderRequest)
PAIR: TypeAdapter[tuple[ConnectionSpec, OrderRequest]] = TypeAdapter(
    tuple[ConnectionSpec, OrderRequest]
)
PAIRS: TypeAdapter[list[tuple[ConnectionSpec, OrderRequest]]] = TypeAdapter(
    list[tuple[ConnectionSpec, OrderRequest]]
)
REPORTS: TypeAdapter[list[OrderReport]] = TypeAdapter(list[OrderReport])


@dataclass(frozen=True, slots=True)
class Call:
    """One thing that can be asked. of_venue: a function that blocks, not a coroutine."""

    asks: TypeAdapter[Any]
    tells: TypeAdapter[Any]
    of_venue: bool = False


def _call(*asks: Any, tells: Any, of_venue: bool = False) -> Call:
    arguments: Any = tuple[asks] if asks else tuple[()]  # type: ignore[valid-type]
    return Call(TypeAdapter(arguments), TypeAdapter(tells), of_venue)


CALLS: Mapping[str, Call] = {
    # of the adapter
    "connect": _call(ConnectionSpec, tells=None),
    "test": _call(ConnectionSpec, tells=list[Check]),
    "account": _call(ConnectionSpec, tells=AccountState),
    "instruments": _call(ConnectionSpec, tells=list[Instrument]),
    "quote": _call(ConnectionSpec, str, tells=Quote),
    "what_if": _call(ConnectionSpec, OrderRequest, tells=WhatIf),
    "positions": _call(ConnectionSpec, tells=list[BrokerPosition]),
    "open_orders": _call(ConnectionSpec, tells=list[BrokerOrder]),
    "fills_since": _call(ConnectionSpec, datetime, tells=list[OrderReport]),
    "find_order": _call(ConnectionSpec, str, tells=list[OrderReport] | None),
    "cancel": _call(ConnectionSpec, CancelRequest, tells=list[OrderReport]),
    "modify": _call(ConnectionSpec, ModifyRequest, tells=list[OrderReport]),
    "events": _call(int, str, tells=list[OrderReport]),
    "acknowledge": _call(list[str], tells=None),
    "journal": _call(str, tells=Journal),
    "clock": _call(tells=datetime | None),
    # of the venue
    "on_quotes": _call(list[Quote], tells=int, of_venue=True),
    "forget_prices": _call(tells=None, of_venue=True),
    "owner_closes": _call(str, str, tells=int, of_venue=True),
    "list_instruments": _call(tells=None, of_venue=True),
    "open_accounts": _call(list[str], Decimal, str, dict[str, Any], tells=None, of_venue=True),
    "set_terms": _call(list[str], dict[str, Any], tells=int, of_venue=True),
    "fund": _call(str, Decimal, tells=Decimal, of_venue=True),
}


def fragment(adapter: TypeAdapter[Any], value: Any) -> orjson.Fragment:
    """Write a value as JSON; what has its default is left out."""
    return orjson.Fragment(adapter.dump_json(value, exclude_defaults=True))


def ask(name: str, arguments: Sequence[Any]) -> orjson.Fragment:
    """Write a call's arguments."""
    return fragment(CALLS[name].asks, tuple(arguments))


def outcome_words(outcome: Outcome) -> dict[str, Any]:
    """Write how an order ended."""
    if isinstance(outcome, BrokerError):
        return error_words(outcome)
    return {"told": fragment(REPORTS, outcome)}


def error_words(error: BrokerError) -> dict[str, Any]:
    """Write an outcome that is no report."""
    return {"error": type(error).__name__, "code": error.code.value, "detail": error.detail}


def read_outcome(words: Mapping[str, Any]) -> Outcome:
    """Read what `outcome_words` wrote. Raises ValueError, KeyError or TypeError."""
    if "error" in words:
        return read_error(words)
    return REPORTS.validate_python(words["told"])


def read_error(words: Mapping[str, Any]) -> BrokerError:
    """Read what `error_words` wrote. Raises ValueError or KeyError."""
    return ERRORS[words["error"]](Code(words["code"]), str(words["detail"]))
