"""Margins as brokers calculate them themselves, asked before an order is sized for good.

Where `Capabilities.tells_margin` says so the broker is asked what the entry would bind, before the
claim's transaction, and the claim takes the answer in place of our own estimate, by the unit, for
as long as it is young. A broker that does not answer is not asked again for a minute: our estimate
counts.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Any

import structlog

from brokers.account_capabilities import Capabilities
from brokers.registry import adapter_for, broker_types, capabilities_of
from brokers.types import ConnectionSpec, OrderRequest, OrderType, Side, TimeInForce
from common.clocks import machine_time
from common.sql import array, rows
from connections import session_lanes
from connections.selectors import spec_from_row, temporary_reasons
from connections.session_lanes import GENERAL
from execution.ids import new_client_order_id
from execution.runtime import trading_runtime
from execution.submission import claim_sql as sql
from execution.submission.bundle_evaluation import instruments_of
from execution.submission.deferral import UNANSWERED_SECONDS, accounts_with_open_command
from execution.submission.margins import Key, is_fresh, key_of, stored_margins
from execution.submission.outcomes import SIDES, Deferred

log = structlog.get_logger(__name__)
QUERY_SECONDS = 2.0  # for all answers of a bundle
FAILED_SECONDS = 60.0  # that a broker which did not answer is left alone
AT_ONCE = 100
MOST = 10_000  # answers and failures that a process keeps

_failed: dict[str, float] = {}
"""When a connection's broker last failed to tell one (machine time)."""
DeferralPolicy = Callable[[Sequence[Any]], Mapping[str, Deferred]]

PENDING_ENTRIES = """
SELECT DISTINCT c.type FROM execution_order o
JOIN connections_executionconnection c ON c.id = o.connection_id
WHERE o.id = ANY(%s::bigint[]) AND o.position_id IS NULL AND o.status = 'PENDING'
  AND c.type = ANY(%s::text[])
"""


def request_margins(order_ids: Sequence[int], deferral_policy: DeferralPolicy) -> None:
    """Have brokers tell what the entries of a bundle would bind, where we do not know it.

    deferral_policy: says which connections' entries wait; of those nothing is asked. A broker that
    has failed to answer is left alone for a minute.
    """
    broker_types = _types_with_margins()
    if broker_types <= _types_with_sessions() and set(session_lanes.held_lanes()) <= {GENERAL}:
        return  # this process speaks to none of them
    ids = array(order_ids)
    if not rows(PENDING_ENTRIES, (ids, array(broker_types))):
        return
    unknown = [row for row in rows(sql.LOAD, (ids,)) if _is_needed(row)]
    pending = _not_waiting(unknown, deferral_policy) if unknown else []
    listed = instruments_of(pending) if pending else {}
    needed: dict[Key, tuple[Any, Any]] = {}
    for row in pending:
        symbol = (row.symbol_map or {}).get(row.signal_pair, row.pair)
        if (instrument := listed.get((row.instrument_book, symbol))) is not None:
            needed[key_of(row)] = (row, instrument)
    if needed:
        _query_all(needed)


def _not_waiting(entries: Sequence[Any], deferral_policy: DeferralPolicy) -> list[Any]:
    """Return the entries that nothing known keeps waiting: no other broker is worth the time."""
    waiting = {
        *temporary_reasons({row.connection_id for row in entries}),
        *deferral_policy(entries),
    }
    if one_by_one := [row for row in entries if row.type in _types_one_at_a_time()]:
        accounts = array({row.connection_id for row in one_by_one})
        held = rows(sql.EXPOSURE, {"connections": accounts, "unanswered": UNANSWERED_SECONDS})
        unanswered = {account.connection_id for account in held if account.unanswered}
        waiting |= accounts_with_open_command(one_by_one, unanswered)
    return [
        row
        for row in entries
        if row.connection_id not in waiting and not session_lanes.is_idle(row.connection_id)
    ]


def _is_needed(row: Any) -> bool:
    is_held = row.status == "PENDING" and row.is_due and row.lane in session_lanes.held_lanes()
    if row.position_id is not None or not is_held or row.type not in _types_with_margins():
        return False
    return not is_fresh(stored_margins.get(key_of(row))) and not _has_failed(row.connection_id)


def _has_failed(connection_id: str) -> bool:
    """Whether its broker failed to answer within the last minute."""
    failed_at = _failed.get(connection_id)
    return failed_at is not None and machine_time() - failed_at <= FAILED_SECONDS


def _types_with_margins() -> frozenset[str]:
    return frozenset(
        kind
        for kind, can in _capabilities_of_types(broker_types())
        if can.what_if and can.reports_margin
    )


def _types_one_at_a_time() -> frozenset[str]:
    return frozenset(
        kind for kind, can in _capabilities_of_types(broker_types()) if can.one_at_a_time
    )


def _types_with_sessions() -> frozenset[str]:
    return frozenset(kind for kind, can in _capabilities_of_types(broker_types()) if can.session)


@cache
def _capabilities_of_types(broker_types: tuple[str, ...]) -> tuple[tuple[str, Capabilities], ...]:
    found = []
    for broker_type in broker_types:
        try:
            found.append((broker_type, capabilities_of(broker_type, ConnectionSpec("", ""))))
        except Exception as error:  # a package that cannot be imported here trades nothing here
            log.warning("no capabilities", kind=broker_type, error=repr(error))
    return tuple(found)


def _query_all(needed: Mapping[Key, tuple[Any, Any]]) -> None:
    for kept in (stored_margins, _failed):
        if len(kept) > MOST:
            kept.clear()

    async def all_of_them() -> None:
        ends, slots = asyncio.get_running_loop().time() + QUERY_SECONDS, asyncio.Semaphore(AT_ONCE)
        calls = (_query_one(key, *about, ends, slots) for key, about in needed.items())
        await asyncio.gather(*calls)

    try:
        trading_runtime.get_runtime().dispatcher.run_call(all_of_them(), QUERY_SECONDS + 1)
    except Exception as error:  # our estimate counts
        log.warning("margins not told", entries=len(needed), error=repr(error))


async def _query_one(
    key: Key, row: Any, instrument: Any, ends: float, slots: asyncio.Semaphore
) -> None:
    """Ask for one margin until `ends` (the loop's time). No failure leaves it: each is of its own
    account only, and remembered."""
    async with slots:
        at = machine_time()
        if asyncio.get_running_loop().time() >= ends:
            return  # it had no turn
        try:
            request = _request(row, instrument)
            async with asyncio.timeout_at(ends):
                margin = await adapter_for(row.type).what_if(spec_from_row(row), request)
        except Exception as error:
            _failed[row.connection_id] = at
            log.warning("margin not told", connection=key[0], pair=key[1], error=repr(error))
            return
        if margin.currency == row.currency and margin.initial_margin > 0:
            stored_margins[key] = (margin.initial_margin / request.quantity, at)


def _request(row: Any, instrument: Any) -> OrderRequest:
    """A market order of about the usual size: margins are asked for it, and nothing is placed."""
    quantity = max(instrument.quantity_min, _usual_quantity(row, instrument))
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


def _usual_quantity(row: Any, instrument: Any) -> Decimal:
    if row.sizing_mode != "FIXED" or not row.fixed_quantity:
        return Decimal(instrument.quantity_min)
    step = instrument.quantity_step
    whole: Decimal = row.fixed_quantity // step * step
    return min(whole, Decimal(instrument.quantity_max))
