"""Margins as brokers calculate them themselves, asked before an order is sized for good.

Where `Capabilities.tells_margin` says so the broker is asked what the entry would bind, before the
claim's transaction, and the claim takes the answer in place of our own estimate, by the unit, for
as long as it is young. A broker that does not answer in time delays nobody: our estimate counts.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Any

import structlog

from brokers.base import BrokerError
from brokers.messages import (
    Capabilities,
    ConnectionSpec,
    OrderRequest,
    OrderType,
    Side,
    TimeInForce,
)
from brokers.registry import adapter_for, capabilities_of, kinds
from common.clocks import machine_time
from common.sql import array, rows
from connections.lanes import GENERAL
from connections.lanes import held as held_lanes
from connections.selectors import spec_from_row
from execution.calls import runtime
from execution.ids import new_client_order_id
from execution.intents import claim_sql as sql
from execution.intents.decisions import SIDES

log = structlog.get_logger(__name__)
MAX_AGE_SECONDS = 60.0  # of an answer; as old as a quote may be
ASK_SECONDS = 2.0  # for all answers of a bundle
MOST = 10_000  # answers that a process keeps

Key = tuple[str, str, str]
_told: dict[Key, tuple[Decimal, float]] = {}
"""Margin of one base unit in the account's currency, and when it was told (machine time)."""

WAITING = """
SELECT DISTINCT c.type FROM execution_order o
JOIN connections_executionconnection c ON c.id = o.connection_id
WHERE o.id = ANY(%s::bigint[]) AND o.position_id IS NULL AND o.status = 'PENDING'
  AND c.type = ANY(%s::text[])
"""


def ask(order_ids: Sequence[int]) -> None:
    """Have brokers tell what the entries of a bundle would bind, where we do not know it."""
    kinds_that_tell = _kinds_that_tell()
    if kinds_that_tell <= _kinds_with_sessions() and set(held_lanes()) <= {GENERAL}:
        return  # this process speaks to none of them
    ids = array(order_ids)
    if not rows(WAITING, (ids, array(kinds_that_tell))):
        return
    pending = [r for r in rows(sql.LOAD, (ids,)) if r.position_id is None and _is_asked(r)]
    books, pairs = {r.instrument_book for r in pending}, {r.pair for r in pending}
    listed = {}
    for one in rows(sql.INSTRUMENTS, (list(books), list(pairs))):
        listed[one.book, one.symbol] = one
        if one.is_preferred:
            listed[one.book, one.pair] = one
    wanted: dict[Key, tuple[Any, Any]] = {}
    for row in pending:
        symbol = (row.symbol_map or {}).get(row.pair, row.pair)
        instrument = listed.get((row.instrument_book, symbol))
        if instrument is not None and not _is_young(_told.get(key_of(row))):
            wanted[key_of(row)] = (row, instrument)
    if wanted:
        _ask_all(wanted)


def known(pending: Iterable[Any]) -> dict[int, Decimal]:
    """Return what brokers have told of these entries' margins: of one base unit, by order."""
    if not _told:
        return {}
    found = {row.id: _told.get(key_of(row)) for row in pending if row.position_id is None}
    return {order_id: told[0] for order_id, told in found.items() if told and _is_young(told)}


def key_of(row: Any) -> Key:
    return str(row.connection_id), row.pair, row.side


def _is_young(told: tuple[Decimal, float] | None) -> bool:
    return told is not None and machine_time() - told[1] <= MAX_AGE_SECONDS


def _is_asked(row: Any) -> bool:
    is_held = row.status == "PENDING" and row.is_due and row.lane in held_lanes()
    return bool(is_held) and row.type in _kinds_that_tell()


def _kinds_that_tell() -> frozenset[str]:
    return frozenset(kind for kind, can in _abilities(kinds()) if can.what_if and can.tells_margin)


def _kinds_with_sessions() -> frozenset[str]:
    return frozenset(kind for kind, can in _abilities(kinds()) if can.session)


@cache
def _abilities(known_kinds: tuple[str, ...]) -> tuple[tuple[str, Capabilities], ...]:
    found = []
    for kind in known_kinds:
        try:
            found.append((kind, capabilities_of(kind, ConnectionSpec("", ""))))
        except Exception as error:  # a package that cannot be imported here trades nothing here
            log.warning("no capabilities", kind=kind, error=repr(error))
    return tuple(found)


def _ask_all(wanted: Mapping[Key, tuple[Any, Any]]) -> None:
    at = machine_time()

    async def one(key: Key, row: Any, instrument: Any) -> None:
        spec = spec_from_row(row)
        request = _request(row, instrument)
        try:
            told = await adapter_for(row.type).what_if(spec, request)
        except (BrokerError, ValueError) as error:
            log.info("margin not told", connection=key[0], pair=key[1], error=str(error))
            return
        if told.currency == row.currency and told.initial_margin > 0:
            _told[key] = (told.initial_margin / request.quantity, at)

    async def all_of_them() -> None:
        async with asyncio.timeout(ASK_SECONDS):
            await asyncio.gather(*(one(key, *about) for key, about in wanted.items()))

    if len(_told) > MOST:
        _told.clear()
    try:
        runtime.present().wire.ask(all_of_them(), ASK_SECONDS + 1)
    except (TimeoutError, BrokerError) as error:
        log.info("margins not told in time", entries=len(wanted), error=repr(error))


def _request(row: Any, instrument: Any) -> OrderRequest:
    """A market order of about the usual size: margins are asked for it, and nothing is placed."""
    quantity = max(instrument.quantity_min, _usual(row, instrument))
    return OrderRequest(
        client_order_id=row.client_order_id or new_client_order_id("w"),
        connection_id=str(row.connection_id),
        account=row.account,
        symbol=instrument.symbol,
        side=Side(SIDES[row.side]),
        order_type=OrderType.MARKET,
        time_in_force=TimeInForce.GTC,
        quantity=quantity,
    )


def _usual(row: Any, instrument: Any) -> Decimal:
    if row.sizing_mode != "FIXED" or not row.fixed_quantity:
        return Decimal(instrument.quantity_min)
    step = instrument.quantity_step
    whole: Decimal = row.fixed_quantity // step * step
    return min(whole, Decimal(instrument.quantity_max))
