"""Query margins from brokers that calculate them, before their orders are claimed.

A broker with `Capabilities.reports_margin` is queried for the margin of an entry before the claim's
transaction. The claim uses the answer, per unit and while it is fresh, instead of our estimate. If
a broker does not answer, our estimate is used, and it is not queried again for a minute.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import cache

import structlog

from brokers.account_capabilities import Capabilities
from brokers.base import outcome_of
from brokers.registry import adapter_for, broker_types, capabilities_if_usable
from brokers.types import OrderRequest, OrderType, Side, TimeInForce
from common.clocks import machine_time
from common.db.sql import array, periodic_rows, rows
from connections import session_lanes
from connections.selectors import connection_join_sql, health_reasons, spec_from_row
from connections.session_lanes import GENERAL
from execution.dispatch.order_dispatcher import CALL_NOT_ENDED
from execution.ids import new_client_order_id
from execution.runtime import trading_runtime
from execution.submission import claim_sql as sql
from execution.submission.bundle_evaluation import instruments_of
from execution.submission.deferral import UNANSWERED_SECONDS, accounts_with_open_command
from execution.submission.margins import Key, is_fresh, key_of, stored_margins
from execution.submission.order_loading import load_orders
from execution.submission.outcomes import SIDES, Deferred
from execution.submission.rows import InstrumentRow, OrderRow

log = structlog.get_logger(__name__)
QUERY_SECONDS = 2.0  # for all answers of a bundle
FAILED_SECONDS = 60.0  # before a broker that did not answer is queried again
MAX_CONCURRENT = 100
MAX_STORED = 10_000  # answers, and failures, in a process

_failed: dict[str, float] = {}
"""When the query of a connection's margin last failed (machine time)."""
DeferralPolicy = Callable[[Sequence[OrderRow]], Mapping[str, Deferred]]

PENDING_ENTRIES = f"""
SELECT DISTINCT c.type FROM execution_order o
{connection_join_sql("o.connection_id")}
WHERE o.id = ANY(%s::bigint[]) AND o.position_id IS NULL AND o.status = 'PENDING'
  AND c.type = ANY(%s::text[])
"""


def request_margins(order_ids: Sequence[int], deferral_policy: DeferralPolicy) -> None:
    """Query the margins of a bundle's entries that are not known, and store them.

    deferral_policy: returns the connections whose entries wait; their margins are not queried.
    Takes at most `QUERY_SECONDS`; failures are logged.
    """
    broker_types = _types_with_margins()
    if broker_types <= _types_with_sessions() and set(session_lanes.held_lanes()) <= {GENERAL}:
        return  # this process holds none of their sessions
    if not periodic_rows(PENDING_ENTRIES, (array(order_ids), array(broker_types))):
        return
    unknown = [row for row in load_orders(order_ids) if _is_needed(row)]
    pending = _without_deferred(unknown, deferral_policy) if unknown else []
    listed = instruments_of(pending) if pending else {}
    needed: dict[Key, tuple[OrderRow, InstrumentRow]] = {}
    for row in pending:
        symbol = (row.symbol_map or {}).get(row.signal_pair or "", row.pair)
        if (instrument := listed.get((row.instrument_book, symbol))) is not None:
            needed[key_of(row)] = (row, instrument)
    if needed:
        _query_all(needed)


def _without_deferred(
    entries: Sequence[OrderRow], deferral_policy: DeferralPolicy
) -> list[OrderRow]:
    """Return the entries that are not known to wait: a query for the others would be wasted."""
    waiting = {
        *health_reasons({row.connection_id for row in entries}),
        *deferral_policy(entries),
    }
    if one_at_a_time := [row for row in entries if row.type in _types_one_at_a_time()]:
        accounts = array({row.connection_id for row in one_at_a_time})
        exposures = rows(
            sql.EXPOSURE,
            {"connections": accounts, "unanswered": UNANSWERED_SECONDS, "pairs": []},
        )
        unanswered = {account.connection_id for account in exposures if account.unanswered}
        waiting |= accounts_with_open_command(one_at_a_time, unanswered)
    return [
        row
        for row in entries
        if row.connection_id not in waiting and not session_lanes.is_idle(row.connection_id)
    ]


def _is_needed(row: OrderRow) -> bool:
    """Return whether an order is a due entry of this process whose margin is not known."""
    is_held = row.status == "PENDING" and row.is_due and row.lane in session_lanes.held_lanes()
    if row.position_id is not None or not is_held or row.type not in _types_with_margins():
        return False
    return not is_fresh(stored_margins.get(key_of(row))) and not _has_failed(row.connection_id)


def _has_failed(connection_id: str) -> bool:
    """Return whether a query failed within the last minute."""
    failed_at = _failed.get(connection_id)
    return failed_at is not None and machine_time() - failed_at <= FAILED_SECONDS


def _types_with_margins() -> frozenset[str]:
    return frozenset(
        broker_type
        for broker_type, can in _capabilities_of_types(broker_types())
        if can.what_if and can.reports_margin
    )


def _types_one_at_a_time() -> frozenset[str]:
    """Return the broker types that take one command at a time."""
    return frozenset(
        broker_type
        for broker_type, can in _capabilities_of_types(broker_types())
        if can.one_at_a_time
    )


def _types_with_sessions() -> frozenset[str]:
    return frozenset(
        broker_type for broker_type, can in _capabilities_of_types(broker_types()) if can.session
    )


@cache
def _capabilities_of_types(broker_types: tuple[str, ...]) -> tuple[tuple[str, Capabilities], ...]:
    return tuple(
        (broker_type, capabilities)
        for broker_type in broker_types
        if (capabilities := capabilities_if_usable(broker_type, with_library=False)) is not None
    )


def _query_all(needed: Mapping[Key, tuple[OrderRow, InstrumentRow]]) -> None:
    for cache_ in (stored_margins, _failed):
        if len(cache_) > MAX_STORED:
            cache_.clear()

    async def query_all() -> None:
        deadline, slots = (
            asyncio.get_running_loop().time() + QUERY_SECONDS,
            asyncio.Semaphore(MAX_CONCURRENT),
        )
        calls = (_query_one(key, *about, deadline, slots) for key, about in needed.items())
        await asyncio.gather(*calls)

    try:
        trading_runtime.get_runtime().dispatcher.run_call(query_all(), QUERY_SECONDS + 1)
    except CALL_NOT_ENDED as error:  # our estimate is used
        log.warning("margins not queried", entries=len(needed), error=repr(error))


async def _query_one(
    key: Key, row: OrderRow, instrument: InstrumentRow, deadline: float, slots: asyncio.Semaphore
) -> None:
    """Query one margin until `deadline` (the loop's time) and store it.

    A failure is stored and logged, not raised.
    """
    async with slots:
        at = machine_time()
        if asyncio.get_running_loop().time() >= deadline:
            return  # no slot in time
        margin = await outcome_of(_margin_of_unit(row, instrument, deadline))
        if isinstance(margin, Exception):
            _failed[row.connection_id] = at
            log.warning("margin query failed", connection=key[0], pair=key[1], error=repr(margin))
        elif margin is not None:
            stored_margins[key] = (margin, at)


async def _margin_of_unit(
    row: OrderRow, instrument: InstrumentRow, deadline: float
) -> Decimal | None:
    """Return the margin of one unit, None if the broker states it in another currency."""
    request = _request(row, instrument)
    async with asyncio.timeout_at(deadline):
        margin = await adapter_for(row.type).what_if(spec_from_row(row), request)
    if margin.currency != row.currency or margin.initial_margin <= 0:
        return None
    return margin.initial_margin / request.quantity


def _request(row: OrderRow, instrument: InstrumentRow) -> OrderRequest:
    """Return a market order of about the usual size, for the query only: it is never placed."""
    quantity = max(instrument.quantity_min, _usual_quantity(row, instrument))
    return OrderRequest(
        client_order_id=row.client_order_id or new_client_order_id("w"),
        connection_id=row.connection_id,
        account=row.account,
        symbol=instrument.symbol,
        side=Side(SIDES[row.side]),
        order_type=OrderType.MARKET,
        time_in_force=TimeInForce.GTC,
        quantity=quantity,
    )


def _usual_quantity(row: OrderRow, instrument: InstrumentRow) -> Decimal:
    if row.terms.sizing_mode != "FIXED" or not row.terms.fixed_quantity:
        return Decimal(instrument.quantity_min)
    step = instrument.quantity_step
    quantity: Decimal = row.terms.fixed_quantity // step * step
    return min(quantity, Decimal(instrument.quantity_max))
