"""Notify operators, once per signal, of orders that were not executed, with the counts by reason.

Counted are orders that were rejected, skipped, failed, or not sent before their signal became too
old. A CLOSE may have several exits on an account: one that was not executed counts, unless it was
to close all and was requested again, and one that is unsettled. A publication writes a check, which
is repeated for up to two minutes while orders are unsettled; then one message has the counts. If
the unsettled orders change them, one correction follows within 15 minutes of the publication. If
nothing is lost by then and orders still wait (their broker may be down for long), the check is
repeated for a day.

When a check ends, what was executed is counted as well, if a channel asks for that kind.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson
from django.db import transaction

from common.db.sql import Query, array, columns, periodic_rows, rows, run
from common.ended_orders import was_not_sent_in_time
from common.reason_codes import Code
from connections.selectors import not_twin_sql
from events.models import EventKind
from events.selectors import requested_by_sql
from events.services import NewEvent, emit_many
from execution.exits.order_sizes import request_of_leg_sql
from signals.services import STORE_CANDIDATE_COUNT_SQL

FIRST_CHECK_SECONDS = 3
RECHECK_SECONDS = 5
WAIT_SECONDS = 120.0  # for orders that are not settled, before the message
CORRECTION_SECONDS = 900.0  # since publication; later changes are on the signal's page
SLOW_RECHECK_SECONDS = 60  # after that
MAX_SECONDS = 86_400.0  # for orders that still wait
MAX_SIGNALS = 100  # signals in one run

UNSETTLED = "'PENDING', 'SUBMITTING', 'UNKNOWN'"
# An order that the engine holds is settled like one that works at its broker.
COUNTED = "'REJECTED', 'SKIPPED', 'DENIED', 'FAILED', 'EXPIRED'"
ALWAYS_REPORTED = ("REJECTED", "SKIPPED", "FAILED")

# Runs in the publish transaction. A signal that creates no orders needs no check.
COUNT_CANDIDATES = f"""
WITH counted AS ({STORE_CANDIDATE_COUNT_SQL}
)
INSERT INTO execution_outcomecheck (signal_id, due_at)
SELECT id, clock_timestamp() + interval '{FIRST_CHECK_SECONDS} seconds' FROM counted
WHERE action <> 'MODIFY' AND %(candidates)s > 0
ON CONFLICT (signal_id) DO UPDATE SET due_at = EXCLUDED.due_at, reported = NULL
"""


class DueCheck(NamedTuple):
    """A check that is due. age: seconds. action: None if the signal is gone."""

    signal_id: int
    reported: dict[str, dict[str, int]] | None
    action: str | None
    candidates: int | None
    age: float


class ExecutedCount(NamedTuple):
    """How many orders of a signal filled, filled in part or work at their broker."""

    signal_id: int
    filled: int
    parts: int
    working: int


class OrderCount(NamedTuple):
    """How many orders of a signal have a status; `status` is empty for those unsettled."""

    signal_id: int
    status: str
    reason: str
    orders: int


ANY_DUE = """
SELECT EXISTS (SELECT FROM execution_outcomecheck WHERE due_at <= statement_timestamp()) AS is_due
"""
CLAIM = Query(
    DueCheck,
    """
SELECT n.signal_id, n.reported, s.action, s.candidate_count AS candidates,
  extract(epoch FROM clock_timestamp() - n.created_at)::float8 AS age
FROM execution_outcomecheck n LEFT JOIN signals_signal s ON s.id = n.signal_id
WHERE n.due_at <= clock_timestamp() ORDER BY n.due_at LIMIT %s FOR UPDATE OF n SKIP LOCKED
""",
)
# Finds entries by the index on their signal, exits by the one on their position. Of an account's
# exits one counts that is unsettled, and one of the others.
_CAUSED = f"""
WITH s AS MATERIALIZED (
  SELECT id, refers_to_id, action, close_fraction FROM signals_signal WHERE id = ANY(%s::bigint[])
), caused AS (
  SELECT o.signal_id, o.status, o.reason, o.filled_quantity
  FROM s JOIN execution_order o ON o.signal_id = s.id
  WHERE s.action = 'OPEN' AND o.leg = 'entry' AND o.leg LIKE 'entry%%' AND o.route_state <> 'MOVED'
    AND {not_twin_sql("o.connection_id")}
  UNION ALL
  (SELECT DISTINCT ON (o.signal_id, o.connection_id, o.status IN ({UNSETTLED}))
    o.signal_id, o.status, o.reason, o.filled_quantity
  FROM s JOIN positions_executionposition p ON p.signal_id = s.refers_to_id
  JOIN execution_order o ON o.position_id = p.id AND o.signal_id = s.id
  WHERE s.action <> 'OPEN' AND {not_twin_sql("o.connection_id")}
    AND (o.done_at IS NULL OR s.close_fraction < 1 OR NOT EXISTS (SELECT FROM execution_order later
      WHERE later.position_id = p.id AND later.signal_id = s.id AND later.id > o.id
        AND later.reason <> '{Code.DUST.value}'
        AND {request_of_leg_sql("later.leg")} <> {request_of_leg_sql("o.leg")}))
  ORDER BY o.signal_id, o.connection_id, o.status IN ({UNSETTLED}),
    o.status NOT IN ({COUNTED}), o.id)
)"""
COUNT = Query(
    OrderCount,
    f"""
{_CAUSED}
SELECT signal_id, CASE WHEN status IN ({UNSETTLED}) THEN '' ELSE status END AS status,
  CASE WHEN status IN ({COUNTED}) THEN reason ELSE '' END AS reason, count(*) AS orders
FROM caused WHERE status IN ({UNSETTLED}, {COUNTED})
  AND NOT (status = 'PENDING'
    AND reason IN ('{Code.AWAITING_TRIGGER.value}', '{Code.AWAITING_CONDITION.value}'))
GROUP BY 1, 2, 3
""",
)
IS_EXECUTED_WANTED = f"SELECT EXISTS ({requested_by_sql(EventKind.SIGNAL_EXECUTED)}) AS is_wanted"
EXECUTED = Query(
    ExecutedCount,
    f"""
{_CAUSED}
SELECT signal_id, count(*) FILTER (WHERE status = 'FILLED') AS filled,
  count(*) FILTER (WHERE status <> 'FILLED' AND filled_quantity > 0) AS parts,
  count(*) FILTER (WHERE status = 'SUBMITTED' AND filled_quantity = 0) AS working
FROM caused GROUP BY 1
HAVING bool_or(filled_quantity > 0 OR status = 'SUBMITTED')
""",
)
RECHECK = """
UPDATE execution_outcomecheck n SET reported = t.reported::jsonb,
  due_at = clock_timestamp() + make_interval(
    secs => CASE WHEN n.created_at < clock_timestamp() - make_interval(secs => %s)
      THEN %s ELSE %s END)
FROM unnest(%s::bigint[], %s::text[]) AS t(signal_id, reported) WHERE n.signal_id = t.signal_id
"""
DONE = "DELETE FROM execution_outcomecheck WHERE signal_id = ANY(%s::bigint[])"

Counts = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The orders of a signal that were not executed.

    age: seconds since the publication. unsettled: how many orders have no final status. orders:
    counts by status, then by reason code. reported: those of the message already sent.
    """

    age: float
    unsettled: int = 0
    orders: Counts = field(default_factory=dict)
    reported: Counts | None = None

    @property
    def has_problems(self) -> bool:
        """Whether operators have to be notified of any of them."""
        return bool(_problems(self.orders))


@dataclass(frozen=True, slots=True)
class Step:
    """What to do now: write the message; repeat the check later."""

    report: bool
    repeat: bool


def next_step(outcome: Outcome) -> Step:
    """Decide about one signal: at most one message, and at most one correction. Pure."""
    is_final = outcome.unsettled == 0 or outcome.age >= CORRECTION_SECONDS
    if outcome.reported is not None:
        differs = _problems(outcome.orders) != _problems(outcome.reported)
        return Step(report=is_final and differs, repeat=not is_final)
    is_due = is_final or outcome.age >= WAIT_SECONDS
    if is_final and outcome.unsettled and not outcome.has_problems:
        return Step(report=False, repeat=outcome.age < MAX_SECONDS)
    return Step(report=is_due and outcome.has_problems, repeat=not is_final)


def report_outcomes() -> int:
    """Check the signals that are due; return how many events for operators were written."""
    if not periodic_rows(ANY_DUE)[0].is_due:
        return 0
    with transaction.atomic():
        claimed = rows(CLAIM, (MAX_SIGNALS,))
        if not claimed:
            return 0
        counts = _counts([row.signal_id for row in claimed])
        events, repeated, done = [], [], []
        for row in claimed:
            orders, unsettled = counts.get(row.signal_id, ({}, 0))
            outcome = Outcome(row.age, unsettled, orders, row.reported)
            step = next_step(outcome) if row.action else Step(report=False, repeat=False)
            if step.report:
                events.append(_event(row, outcome, is_last=not step.repeat))
            if step.repeat:
                reported = orders if step.report else row.reported
                repeated.append((row.signal_id, _json(reported)))
            else:
                done.append(row)
        events += _executed([row for row in done if row.action])
        if events:
            emit_many(events)
        if repeated:
            seconds = (CORRECTION_SECONDS, SLOW_RECHECK_SECONDS, RECHECK_SECONDS)
            run(RECHECK, (*seconds, *columns(repeated, 2)))
        if done:
            run(DONE, (array([row.signal_id for row in done]),))
    return len(events)


def _executed(ended: Sequence[DueCheck]) -> list[NewEvent]:
    """Return what signals executed whose checks end now, if a channel asks for it."""
    if not ended or not rows(IS_EXECUTED_WANTED)[0].is_wanted:
        return []
    actions = {row.signal_id: row.action for row in ended}
    return [
        NewEvent(
            EventKind.SIGNAL_EXECUTED,
            signal_id=count.signal_id,
            payload={
                "action": actions[count.signal_id],
                "filled": count.filled,
                "parts": count.parts,
                "working": count.working,
                "page": f"/admin/signals/signal/{count.signal_id}/change/",
            },
        )
        for count in rows(EXECUTED, (array(list(actions)),))
    ]


def _counts(signal_ids: Sequence[int]) -> dict[int, tuple[dict[str, dict[str, int]], int]]:
    counts: dict[int, tuple[dict[str, dict[str, int]], int]] = {}
    for row in rows(COUNT, (array(signal_ids),)):
        orders, unsettled = counts.get(row.signal_id, ({}, 0))
        if row.status == "EXPIRED" and not was_not_sent_in_time(row.reason, row.status):
            pass  # its time in force ended at the broker: not lost
        elif row.status:
            orders.setdefault(row.status, {})[row.reason] = row.orders
        else:
            unsettled += row.orders
        counts[row.signal_id] = (orders, unsettled)
    return counts


def _event(row: DueCheck, outcome: Outcome, *, is_last: bool) -> NewEvent:
    return NewEvent(
        EventKind.SIGNAL_INCOMPLETE,
        signal_id=row.signal_id,
        payload={
            "action": row.action,
            "candidates": row.candidates,
            "orders": outcome.orders,
            "unsettled": outcome.unsettled,
            "correction": outcome.reported is not None,
            "is_last": is_last,
            "page": f"/admin/signals/signal/{row.signal_id}/change/",
        },
    )


def _problems(orders: Counts) -> dict[str, dict[str, int]]:
    """Return the counts that operators are notified of: not those denied by an account's limits."""
    lost = {
        state: {
            code: count
            for code, count in reasons.items()
            if state in ALWAYS_REPORTED or was_not_sent_in_time(code, state)
        }
        for state, reasons in orders.items()
    }
    return {state: reasons for state, reasons in lost.items() if reasons}


def _json(value: Counts | None) -> str | None:
    return None if value is None else orjson.dumps(value).decode()
