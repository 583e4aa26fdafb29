"""Margins as brokers calculate them themselves, asked before an order is sized for good.

Where `Capabilities.tells_margin` says so the broker is asked what the entry would bind, before the
claim's transaction, and the claim takes the answer in place of our own estimate, by the unit, for
as long as it is young. A broker that does not answer is not asked again for a minute: our estimate
counts.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Any

import structlog

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
from connections import lanes
from connections.eligibility import waits_for
from connections.lanes import GENERAL
from connections.selectors import spec_from_row
from execution.calls import runtime
from execution.ids import new_client_order_id
from execution.intents import claim_sql as sql
from execution.intents.decisions import SIDES, Later
from execution.intents.listed import instruments_of
from execution.intents.waiting import UNANSWERED_SECONDS, behind_a_command

log = structlog.get_logger(__name__)
MAX_AGE_SECONDS = 60.0  # of an answer; as old as a quote may be
ASK_SECONDS = 2.0  # for all answers of a bundle
FAILED_SECONDS = 60.0  # that a broker which did not answer is left alone
AT_ONCE = 100
MOST = 10_000  # answers and failures that a process keeps

Key = tuple[str, str, str]
_told: dict[Key, tuple[Decimal, float]] = {}
"""Margin of one base unit in the account's currency, and when it was told (machine time)."""
_failed: dict[str, float] = {}
"""When a connection's broker last failed to tell one (machine time)."""
HeldBack = Callable[[Sequence[Any]], Mapping[str, Later]]

WAITING = """
SELECT DISTINCT c.type FROM execution_order o
JOIN connections_executionconnection c ON c.id = o.connection_id
WHERE o.id = ANY(%s::bigint[]) AND o.position_id IS NULL AND o.status = 'PENDING'
  AND c.type = ANY(%s::text[])
"""


def ask(order_ids: Sequence[int], held_back: HeldBack) -> None:
    """Have brokers tell what the entries of a bundle would bind, where we do not know it.

    held_back: says which connections' entries wait; of those nothing is asked. A broker that has
    failed to answer is left alone for a minute.
    """
    kinds_that_tell = _kinds_that_tell()
    if kinds_that_tell <= _kinds_with_sessions() and set(lanes.held()) <= {GENERAL}:
        return  # this process speaks to none of them
    ids = array(order_ids)
    if not rows(WAITING, (ids, array(kinds_that_tell))):
        return
    unknown = [row for row in rows(sql.LOAD, (ids,)) if _is_asked(row)]
    pending = _that_may_leave(unknown, held_back) if unknown else []
    listed = instruments_of(pending) if pending else {}
    wanted: dict[Key, tuple[Any, Any]] = {}
    for row in pending:
        symbol = (row.symbol_map or {}).get(row.signal_pair, row.pair)
        if (instrument := listed.get((row.instrument_book, symbol))) is not None:
            wanted[key_of(row)] = (row, instrument)
    if wanted:
        _ask_all(wanted)


def _that_may_leave(entries: Sequence[Any], held_back: HeldBack) -> list[Any]:
    """Return the entries that nothing known keeps waiting: no other broker is worth the time."""
    waiting = {*waits_for({row.connection_id for row in entries}), *held_back(entries)}
    if one_by_one := [row for row in entries if row.type in _kinds_one_at_a_time()]:
        accounts = array({row.connection_id for row in one_by_one})
        held = rows(sql.HELD, {"connections": accounts, "unanswered": UNANSWERED_SECONDS})
        unanswered = {account.connection_id for account in held if account.unanswered}
        waiting |= behind_a_command(one_by_one, unanswered)
    return [
        row
        for row in entries
        if row.connection_id not in waiting and not lanes.rests(row.connection_id)
    ]


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
    is_held = row.status == "PENDING" and row.is_due and row.lane in lanes.held()
    if row.position_id is not None or not is_held or row.type not in _kinds_that_tell():
        return False
    return not _is_young(_told.get(key_of(row))) and not _has_failed(row.connection_id)


def _has_failed(connection_id: str) -> bool:
    """Whether its broker failed to answer within the last minute."""
    failed_at = _failed.get(connection_id)
    return failed_at is not None and machine_time() - failed_at <= FAILED_SECONDS


def _kinds_that_tell() -> frozenset[str]:
    return frozenset(kind for kind, can in _abilities(kinds()) if can.what_if and can.tells_margin)


def _kinds_one_at_a_time() -> frozenset[str]:
    return frozenset(kind for kind, can in _abilities(kinds()) if can.one_at_a_time)


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
    for kept in (_told, _failed):
        if len(kept) > MOST:
            kept.clear()

    async def all_of_them() -> None:
        ends, turns = asyncio.get_running_loop().time() + ASK_SECONDS, asyncio.Semaphore(AT_ONCE)
        calls = (_ask_one(key, *about, ends, turns) for key, about in wanted.items())
        await asyncio.gather(*calls)

    try:
        runtime.present().wire.ask(all_of_them(), ASK_SECONDS + 1)
    except Exception as error:  # our estimate counts
        log.warning("margins not told", entries=len(wanted), error=repr(error))


async def _ask_one(
    key: Key, row: Any, instrument: Any, ends: float, turns: asyncio.Semaphore
) -> None:
    """Ask for one margin until `ends` (the loop's time). No failure leaves it: each is of its own
    account only, and remembered."""
    async with turns:
        at = machine_time()
        if asyncio.get_running_loop().time() >= ends:
            return  # it had no turn
        try:
            request = _request(row, instrument)
            async with asyncio.timeout_at(ends):
                told = await adapter_for(row.type).what_if(spec_from_row(row), request)
        except Exception as error:
            _failed[row.connection_id] = at
            log.warning("margin not told", connection=key[0], pair=key[1], error=repr(error))
            return
        if told.currency == row.currency and told.initial_margin > 0:
            _told[key] = (told.initial_margin / request.quantity, at)


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
