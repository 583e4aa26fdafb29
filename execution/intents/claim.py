"""The claim: from PENDING rows to intents on disk, a bundle in one transaction.

Mailboxes are locked in id order by a plain lock with a time-out (SKIP LOCKED is for sweeps only),
then, in a later statement whose snapshot is younger than the locks, the orders are loaded by
primary key and filtered here. What is decided is decided by pure functions; what is written is
written by one statement.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import transaction

from brokers.bounds import bounded
from brokers.messages import ConnectionSpec, ExitSafety, OrderRequest
from brokers.registry import adapter_for
from common.clocks import machine_seconds_until, machine_time
from common.codes import Code
from common.faults import point
from common.sql import array, columns, rows
from connections.lanes import GENERAL
from connections.lanes import held as held_lanes
from connections.selectors import spec_from_row
from execution.exits.dust import raise_alarm
from execution.exits.reserve import balance
from execution.ids import at_attempt, base_of, new_client_order_id
from execution.intents import claim_sql as sql
from execution.intents.decisions import (
    ORDER_TYPES,
    SIDES,
    TIMES_IN_FORCE,
    Decision,
    Ended,
    Intent,
    Later,
    Market,
)
from execution.intents.evaluation import UNHELD, evaluate, load_market, load_situation
from execution.intents.sizing import Denial
from execution.intents.waiting import due_after, postpone, prepare, request_comparisons

HeldBack = Callable[[Sequence[Any]], Mapping[str, Later]]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An intent that is on disk, on its way to the wire."""

    kind: str
    spec: ConnectionSpec
    request: OrderRequest
    is_entry: bool
    feed_id: int | None
    owner_id: int
    lane: str = GENERAL


def nobody(entries: Sequence[Any]) -> Mapping[str, Later]:
    """All of them may leave."""
    return {}


def claim(
    order_ids: Sequence[int],
    *,
    owner: str,
    skip_locked: bool = False,
    held_back: HeldBack = nobody,
    unheld: Collection[str] = (),
) -> list[Outgoing]:
    """Write the intent of every due order of the bundle, or why it is denied; one transaction.

    held_back: says which connections' entries of these rows wait, and what for. Rows of lanes that
    this process does not hold are left as they are. unheld: lanes that no process holds, and of
    whose rows alone this is: none leaves, an entry that is too late ends, the others are told why.

    Raises OperationalError when a mailbox stays locked beyond the lock time-out: the rows stay
    PENDING, and whoever looks next takes them.
    """
    send_by = machine_time() + settings.FILLCAST_SEND_WITHIN_SECONDS  # before the transaction
    with transaction.atomic():
        lock = sql.LOCK.format(skip="SKIP LOCKED" if skip_locked else "")
        ids = array(order_ids)
        locked = {row.connection_id for row in rows(lock, (ids,))}
        if not locked:
            return []
        point("claim.locked")
        lanes = {*unheld}.difference(held_lanes()) if unheld else held_lanes()
        pending = [
            row
            for row in rows(sql.LOAD, (ids,))
            if row.status == "PENDING"
            and row.is_due
            and row.connection_id in locked
            and row.lane in lanes
        ]
        if not pending:
            return []
        specs = {row.connection_id: spec_from_row(row) for row in pending}
        market = _load_market(pending)
        if unheld:
            postponed: Mapping[str, Later] = {row.connection_id: UNHELD for row in pending}
        else:
            postponed = held_back([row for row in pending if row.position_id is None])
        situation = load_situation(
            pending, specs, postponed, locked_out=_locked_out(pending, specs)
        )
        decisions = evaluate(pending, market, situation, specs)
        later = [(row, d) for row, d in decisions if isinstance(d, Later)]
        postpone((row.id, d, due_after(row, d, market)) for row, d in later)
        settled = [(row, d) for row, d in decisions if not isinstance(d, Later)]
        written = _write(settled, owner)
        raise_alarm([row.id for row, d in settled if _is_blocked(d)])
        balance([row.id for row, _ in settled if row.position_id and row.id not in written])
        prepare([(row.id, d) for row, d in later])  # positions after orders, as everywhere
        request_comparisons(later, market.exits)
        point("claim.written")
        return [  # before the commit: what fails here leaves no intent behind
            _outgoing(row, decision, specs[row.connection_id], written[row.id], market, send_by)
            for row, decision in settled
            if isinstance(decision, Intent) and row.id in written
        ]


def _is_blocked(decision: Decision) -> bool:
    """Whether an exit ended because its exchange takes nothing of a position that stays open."""
    return isinstance(decision, Ended) and decision.denial.code is Code.EXIT_BELOW_MINIMUM


def _locked_out(pending: list[Any], specs: Mapping[str, ConnectionSpec]) -> set[str]:
    """Return the accounts whose stored credentials did not open."""
    return {
        row.connection_id
        for row in pending
        if row.sealed_credentials and not specs[row.connection_id].credentials
    }


def _load_market(pending: list[Any]) -> Market:
    signals = rows(sql.SIGNALS, (list({r.signal_id for r in pending if r.signal_id}),))
    return load_market(pending, {signal.id: signal for signal in signals})


def _write(settled: Sequence[tuple[Any, Decision]], owner: str) -> dict[int, Any]:
    """Write intents and refusals; return what each intent is sent under, by order id."""
    records = [_record(row, decision) for row, decision in settled]
    if not records:
        return {}
    arrays = dict(zip(sql.WRITE_COLUMNS, columns(records, len(sql.WRITE_COLUMNS)), strict=True))
    answer_within = (
        settings.FILLCAST_SEND_WITHIN_SECONDS + settings.FILLCAST_CALL_TIMEOUT_SECONDS + 1
    )
    written = rows(sql.WRITE, {**arrays, "owner": owner, "answer_within": answer_within})
    return {row.id: row for row in written}


def _record(row: Any, decision: Decision) -> tuple[Any, ...]:
    if isinstance(decision, Intent):
        i = decision
        return (
            row.id, "SUBMITTING", "", i.detail, "{}", _client_order_id(row), i.symbol, i.quantity,
            i.limit_price, i.stop_price, i.stop_loss, i.take_profit, i.expected_price, i.pip,
            i.rate, i.margin, i.risk, i.worst_price,
        )  # fmt: skip
    ended = decision if isinstance(decision, Ended) else None
    denial = ended.denial if ended else decision
    assert isinstance(denial, Denial)  # Later was sorted out by the caller
    return (
        row.id, ended.status.value if ended else "DENIED", denial.code.value, denial.detail,
        json.dumps(denial.numbers()), None, row.symbol, None, row.limit_price, row.stop_price,
        None, None, None, None, None, None, None, None,
    )  # fmt: skip


def _client_order_id(row: Any) -> str:
    known = row.client_order_id or new_client_order_id(settings.FILLCAST_INSTALLATION_TAG)
    return at_attempt(known, row.attempt)


def _outgoing(
    row: Any, intent: Intent, spec: ConnectionSpec, written: Any, market: Market, send_by: float
) -> Outgoing:
    is_entry = row.position_id is None
    signal = market.signals[row.signal_id] if row.signal_id else None
    if is_entry and signal and signal.valid_until:  # decided in time is not yet sent in time
        send_by = min(send_by, machine_time() + machine_seconds_until(signal.valid_until))
    closes = "" if is_entry else market.exits[row.id].entry_client_order_id
    request = OrderRequest(
        client_order_id=written.client_order_id,
        connection_id=row.connection_id,
        account=row.account,
        symbol=intent.symbol,
        side=SIDES[row.side],
        order_type=ORDER_TYPES[row.order_type],
        time_in_force=TIMES_IN_FORCE[row.time_in_force],
        quantity=intent.quantity,
        limit_price=intent.limit_price,
        stop_price=intent.stop_price,
        stop_loss=intent.stop_loss,
        take_profit=intent.take_profit,
        reduce_only=not is_entry,
        broker_position_id="" if is_entry else market.exits[row.id].broker_position_id,
        closes=closes,
        oca_group=_oca_group(row, spec, closes or written.client_order_id),
        worst_price=intent.worst_price,
        order_id=row.id,
        fence=written.fence,
        send_by=send_by,
    )
    request = bounded(request, adapter_for(row.type).capabilities(spec))
    return Outgoing(
        row.type, spec, request, is_entry, signal and signal.feed_id, row.owner_id, row.lane
    )


def _oca_group(row: Any, spec: ConnectionSpec, entry_client_order_id: str) -> str:
    """The group of an entry's protection and of its exits: named after the entry's id."""
    if adapter_for(row.type).capabilities(spec).exit_safety is not ExitSafety.OCA:
        return ""
    return base_of(entry_client_order_id)
