"""Receivers of signals from other apps, and the queries registered with them."""

import time
from functools import partial
from typing import Any

from django.db import transaction
from django.dispatch import receiver

from alerts.carry_out.trades import register_ended_trades, register_filled_signals
from common.process import tracing
from connections.exposure import (
    register_exposure_query,
    register_ordered_query,
    register_priced_query,
)
from execution import tasks
from execution.base.statements import ALL_PENDING_SQL, is_partly_known_sql
from execution.fan_out import fan_out, withdraw
from execution.models import AT_BROKER, IN_FLIGHT, may_move_sql
from execution.preview import preview
from execution.publication_pace import await_due_orders
from execution.signal_totals import signal_total
from positions.joins import (
    OPEN_POSITIONS_SQL,
    PRICED_POSITIONS_SQL,
    SIGNAL_HAS_OPEN_POSITION_SQL,
    SIGNAL_HAS_POSITION_SQL,
    TRADES_ENDED_SINCE_SQL,
)
from signals.models import Signal
from signals.open_signals import register_open_signals
from signals.publishing.preview import register_preview
from signals.signals import publication_requested, signal_cancelled, signal_published
from signals.totals import register_total


@receiver(publication_requested, dispatch_uid="execution.await_due_orders")
def on_publication_requested(*, signal: Signal, **_: Any) -> None:
    """Let due orders go before a new trade; what changes or closes one goes on at once."""
    if signal.action == "OPEN" and not signal.is_published:
        await_due_orders()


@receiver(signal_published, dispatch_uid="execution.fan_out")
def on_signal_published(*, signal: Signal, **_: Any) -> None:
    """Write the candidates' orders in the publish transaction; enqueue them on commit."""
    result = fan_out(signal)
    exits = signal.action != "OPEN"
    queue = tasks.EXITS if exits else tasks.ENTRIES
    tasks.enqueue_on_commit(
        result.order_ids, queue=queue, lanes=result.lanes, priorities=result.priorities
    )
    if result.cancel_ids or result.position_ids or result.changes_orders:
        tasks.enqueue_pending_actions_on_commit()
    if tracing.is_on():
        transaction.on_commit(partial(_trace, signal, len(result.order_ids)))


def _trace(signal: Signal, orders: int) -> None:
    """Begin the signal's trace: from when it was written to its publication's commit."""
    seconds = max(0.0, time.time() - signal.created_at.timestamp())
    tracing.add("publish", signal.pk, seconds, origin=signal.origin, orders=orders)


@receiver(signal_cancelled, dispatch_uid="execution.withdraw")
def on_signal_cancelled(*, signal: Signal, **_: Any) -> None:
    """Cancel the unfilled entries of a published signal."""
    if withdraw(signal):
        tasks.enqueue_pending_actions_on_commit()


register_exposure_query(OPEN_POSITIONS_SQL)
# Uses the index order_with_broker. A PENDING order is not at the broker yet.
register_exposure_query(f"""
SELECT connection_id, symbol, 'an order that is ' || status AS what
FROM execution_order WHERE status IN ('{"', '".join((*IN_FLIGHT, *AT_BROKER))}')
""")
register_exposure_query(f"""
SELECT connection_id, symbol, 'an order whose executions are looked up' AS what
FROM execution_order WHERE {is_partly_known_sql("execution_order")}
""")
register_priced_query(PRICED_POSITIONS_SQL)
# Uses the index trigger_armed.
register_priced_query(
    "SELECT source_id, connection_id, pair FROM execution_ordertrigger WHERE is_armed"
)
# Uses the index order_of_connection.
register_ordered_query("SELECT connection_id, pair, id AS number FROM execution_order")
# A signal has far more ended orders than there are live ones of all signals: the indexes
# order_with_broker, order_pending and one_entry find the live ones.
# Pairs are not compared: with a mapped symbol an order's pair is not the signal's.
register_open_signals(SIGNAL_HAS_OPEN_POSITION_SQL)
register_open_signals(f"""s.id IN (
SELECT o.signal_id FROM execution_order o WHERE o.leg LIKE 'entry%%'
  AND o.status IN ('{"', '".join((*IN_FLIGHT, *AT_BROKER))}'))""")
register_open_signals(f"""s.id IN (
SELECT signal_id FROM execution_order WHERE leg LIKE 'entry%%' AND {ALL_PENDING_SQL})""")
register_open_signals(f"""s.id IN (
SELECT o.signal_id FROM execution_order o
WHERE o.leg LIKE 'entry%%' AND {is_partly_known_sql("o")})""")
register_open_signals(f"""s.id IN (
SELECT o.signal_id FROM execution_order o WHERE o.leg LIKE 'entry%%'
  AND {may_move_sql("o")})""")
# By the index one_entry.
register_filled_signals("""EXISTS (SELECT FROM execution_order o
  WHERE o.signal_id = s.id AND o.leg LIKE 'entry%%' AND o.filled_quantity > 0)""")
register_filled_signals(SIGNAL_HAS_POSITION_SQL)
register_ended_trades(TRADES_ENDED_SINCE_SQL)
register_preview(preview)
register_total(signal_total)
