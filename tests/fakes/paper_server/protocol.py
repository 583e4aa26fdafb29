"""The calls that the server answers, and how values are written: JSON, decimals as text.

One table of calls; both sides read it, so they cannot differ. To add a call: a line here, a method
on both adapters (or a function in `operations.OPERATIONS`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson
from pydantic import TypeAdapter

from brokers.base import BrokerError, NotSent, Outcome, OutcomeUnknown, ReadFailed, Rejected
from brokers.broker_books import BrokerBooks
from brokers.types import (
    AccountState,
    BrokerOrder,
    BrokerPosition,
    CancelRequest,
    ChangeRequest,
    Check,
    ConnectionSpec,
    Instrument,
    ModifyRequest,
    OrderReport,
    OrderRequest,
    Quote,
    WhatIf,
)
from common.reason_codes import Code

VERSION = 6
SUBMIT, LISTEN, UNLISTEN = "submit_many", "stream_events", "unlisten"
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
class RemoteCall:
    """Types of one call. of_exchange: a function that blocks, not a coroutine of the adapter."""

    argument_types: TypeAdapter[Any]
    result_type: TypeAdapter[Any]
    of_exchange: bool = False


def _call(*argument_types: Any, result_type: Any, of_exchange: bool = False) -> RemoteCall:
    arguments: Any = tuple[argument_types] if argument_types else tuple[()]  # type: ignore[valid-type]
    return RemoteCall(TypeAdapter(arguments), TypeAdapter(result_type), of_exchange)


CALLS: Mapping[str, RemoteCall] = {
    # of the adapter
    "connect": _call(ConnectionSpec, result_type=None),
    "test": _call(ConnectionSpec, result_type=list[Check]),
    "account": _call(ConnectionSpec, result_type=AccountState),
    "instruments": _call(ConnectionSpec, result_type=list[Instrument]),
    "quote": _call(ConnectionSpec, str, result_type=Quote),
    "what_if": _call(ConnectionSpec, OrderRequest, result_type=WhatIf),
    "positions": _call(ConnectionSpec, result_type=list[BrokerPosition]),
    "open_orders": _call(ConnectionSpec, result_type=list[BrokerOrder]),
    "fills_since": _call(ConnectionSpec, datetime, result_type=list[OrderReport]),
    "find_order": _call(ConnectionSpec, str, result_type=list[OrderReport] | None),
    "cancel": _call(ConnectionSpec, CancelRequest, result_type=list[OrderReport]),
    "change_order": _call(ConnectionSpec, ChangeRequest, result_type=list[OrderReport]),
    "modify": _call(ConnectionSpec, ModifyRequest, result_type=list[OrderReport]),
    "events": _call(int, str, result_type=list[OrderReport]),
    "acknowledge": _call(list[str], result_type=None),
    "journal": _call(str, result_type=BrokerBooks),
    "clock": _call(result_type=datetime | None),
    # of the exchange
    "on_quotes": _call(list[Quote], result_type=int, of_exchange=True),
    "forget_prices": _call(result_type=None, of_exchange=True),
    "owner_closes": _call(str, str, result_type=int, of_exchange=True),
    "list_instruments": _call(result_type=None, of_exchange=True),
    "open_accounts": _call(
        list[str], Decimal, str, dict[str, Any], result_type=None, of_exchange=True
    ),
    "set_terms": _call(list[str], dict[str, Any], result_type=int, of_exchange=True),
}


def fragment(adapter: TypeAdapter[Any], value: Any) -> orjson.Fragment:
    """Write a value as JSON; what has its default is left out."""
    return orjson.Fragment(adapter.dump_json(value, exclude_defaults=True))


def encode_arguments(name: str, arguments: Sequence[Any]) -> orjson.Fragment:
    return fragment(CALLS[name].argument_types, tuple(arguments))


def encode_outcome(outcome: Outcome) -> dict[str, Any]:
    """Write how an order ended."""
    if isinstance(outcome, BrokerError):
        return encode_error(outcome)
    return {"result": fragment(REPORTS, outcome)}


def encode_error(error: BrokerError) -> dict[str, Any]:
    """Write an outcome that is no report."""
    return {"error": type(error).__name__, "code": error.code.value, "detail": error.detail}


def read_outcome(encoded: Mapping[str, Any]) -> Outcome:
    """Read what `encode_outcome` wrote. Raises ValueError, KeyError or TypeError."""
    if "error" in encoded:
        return read_error(encoded)
    return REPORTS.validate_python(encoded["result"])


def read_error(encoded: Mapping[str, Any]) -> BrokerError:
    """Read what `encode_error` wrote. Raises ValueError or KeyError."""
    return ERRORS[encoded["error"]](Code(encoded["code"]), str(encoded["detail"]))
