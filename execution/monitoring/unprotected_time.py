"""Unprotected time: how long a position that should have a stop has had none.

A position is protected if the broker has confirmed the stop for its whole quantity, or if we guard
the stop and evaluate its prices. Otherwise the time is recorded, alerted after
ALERT_AFTER_SECONDS, and added up on the position.

Runs each second through partial indexes: protected positions cost one index search per pair, not
one per position.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from django.db import transaction

from common.db.sql import Query, columns, periodic_rows, rows, run
from execution.base.statements import event_rows_sql, insert_events_sql
from execution.monitoring.stop_failover import UNREAD_SECONDS
from execution.submission.rows import QUOTE_MAX_AGE_SECONDS
from positions.protection import (
    END_PERIODS_SQL,
    OF_UNMONITORED_PAIRS,
    UnprotectedPosition,
    begin_unprotected,
    mark_alerted_sql,
    pairs_with_stop_sql,
    recorded_as_unprotected,
    unconfirmed_sql,
)
from positions.row_locks import lock_unlocked

ALERT_AFTER_SECONDS = 5
MONITORING_GRACE_SECONDS = 3  # a source is evaluated once a second, with or without quotes
BATCH_SIZE = 5000


class UnmonitoredPair(NamedTuple):
    """A pair whose stops are not evaluated. source: None if its positions have no price source."""

    source: int | None
    pair: str
    since: datetime | None


# Pairs whose engine-guarded stops are not evaluated, and since when as far as known.
UNMONITORED = Query(
    UnmonitoredPair,
    f"""
WITH RECURSIVE {pairs_with_stop_sql("BUY")}, {pairs_with_stop_sql("SELL")}
SELECT h.price_source_id AS source, h.pair, least(w.last_evaluated_at, q.received_at) AS since
FROM (SELECT * FROM buy UNION SELECT * FROM sell) h
LEFT JOIN prices_latestquote q ON q.data_connection_id = h.price_source_id AND q.symbol = h.pair
LEFT JOIN execution_levelmonitorheartbeat w ON w.source_id = h.price_source_id
WHERE coalesce(w.last_evaluated_at < clock_timestamp() - interval '{MONITORING_GRACE_SECONDS} s'
  OR q.received_at < clock_timestamp() - interval '{QUOTE_MAX_AGE_SECONDS} s', true)
""",
)

UNCONFIRMED = unconfirmed_sql(UNREAD_SECONDS)

_ALERT = insert_events_sql(
    event_rows_sql(
        "moved m",
        kind="'position.unprotected'",
        payload="""jsonb_build_object('position', m.id, 'code', m.reason, 'seconds', m.seconds,
  'ended', m.ended, 'stop', trim_scale(m.sl)::text)""",
        order_id="NULL::bigint",
        where="m.is_alerted",
    )
)

ALERT = f"""
WITH moved AS (
  {mark_alerted_sql(ALERT_AFTER_SECONDS, BATCH_SIZE)}
){_ALERT}"""

END = f"{END_PERIODS_SQL}{_ALERT}"


def update_unprotected() -> int:
    """Record which positions became unprotected or protected; return how many are unprotected."""
    with transaction.atomic():
        unprotected = _unprotected()
        recorded = recorded_as_unprotected()
        if started := _lock(unprotected.keys() - recorded):
            begin_unprotected([UnprotectedPosition(id_, *unprotected[id_]) for id_ in started])
        if ended := _lock(recorded - unprotected.keys()):
            run(END, (ended,))
        if unprotected:
            run(ALERT)
    return len(unprotected)


def _unprotected() -> Mapping[int, tuple[datetime, str]]:
    """Return since when and why each unprotected position has no stop."""
    run("SET LOCAL jit = off")
    unprotected: list[UnprotectedPosition] = []
    if pairs := periodic_rows(UNMONITORED):
        unprotected += rows(
            OF_UNMONITORED_PAIRS, columns([(row.source, row.pair, row.since) for row in pairs], 3)
        )
    unprotected += periodic_rows(UNCONFIRMED)
    return {row.id: (row.since, row.reason) for row in unprotected}


def _lock(position_ids: set[int]) -> list[int]:
    """Lock up to BATCH_SIZE positions; return their ids. Others come in the next round."""
    batch = sorted(position_ids)[:BATCH_SIZE]
    return lock_unlocked(batch)
