"""Load the plans of slices that are decided, and write those of entries that begin."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from brokers.types import PositionMode
from common.clocks import machine_seconds_until
from common.db.sql import Query, array, columns, rows, run
from common.reason_codes import Code
from execution.base.statements import insert_log_sql, is_partly_known_sql, log_rows_sql
from execution.submission.outcomes import Intent
from execution.submission.rows import OrderRow, SignalRow
from execution.submission.slicing import PlanState, Sibling, Slice, is_last_number, slice_number
from execution.submission.volume_profile import VolumeProfile, profile_of
from positions.joins import trade_sql
from prices.selectors import minute_of, quotes_by_day
from signals.slicing import AtEnd, CatchUp, ExecutionStyle

LAST_SECONDS = 60
"""How long after the end of its plan the slice that sends what is left may still be sent."""


class PlanRow(NamedTuple):
    """A plan with what has become of its position, or of its positions on a hedging account.

    free: open and not being closed; None without a position. target: the next one of a position
    that is netted. is_stopped: a stop was hit.
    """

    connection_id: str
    signal_id: int
    quantities: list[Decimal]
    offsets: list[int]
    starts_at: datetime
    ends_at: datetime
    step: Decimal
    minimum: Decimal
    catch_up: str
    free: Decimal | None
    target: Decimal | None
    is_stopped: bool


class SliceRow(NamedTuple):
    """The order of a slice. is_partly_known: as `is_partly_known_sql`."""

    connection_id: str
    signal_id: int
    leg: str
    status: str
    reason: str
    quantity: Decimal
    filled_quantity: Decimal
    is_partly_known: bool


_OF = """(e.signal_id, e.connection_id) IN (
  SELECT * FROM unnest(%s::bigint[], %s::uuid[])) AND e.leg LIKE 'entry%%'"""
PLANS = Query(
    PlanRow,
    f"""
SELECT e.connection_id::text, e.signal_id, d.quantities, d.offsets, d.starts_at, d.ends_at,
  d.quantity_step AS step, d.quantity_min AS minimum, d.catch_up,
  ({trade_sql("e", "sum(p.quantity - p.reserved)")}) AS free,
  ({trade_sql("e", "max(p.tp)")}) AS target,
  EXISTS (SELECT FROM execution_order x WHERE x.leg LIKE 'sl%%'
    AND x.position_id IN ({trade_sql("e", "p.id")})) AS is_stopped
FROM execution_order e JOIN execution_sliceplan d ON d.order_id = e.id
WHERE {_OF} AND e.leg = 'entry'
""",
)
SLICES = Query(
    SliceRow,
    f"""
SELECT e.connection_id::text, e.signal_id, e.leg, e.status, e.reason,
  coalesce(e.quantity, 0) AS quantity, e.filled_quantity,
  {is_partly_known_sql("e")} AS is_partly_known
FROM execution_order e WHERE {_OF}
""",
)


def is_slice(row: OrderRow) -> bool:
    """Return whether an entry may be a slice of a plan that exists: only those are looked up."""
    return row.position_id is None and (row.leg != "entry" or row.quantity is not None)


def load_plans(
    pending: Sequence[OrderRow], signals: Mapping[int, SignalRow], now: datetime
) -> dict[int, PlanState]:
    """Return the plans of the slices among these orders, by order id. now: market time.

    Without slices nothing is read.
    """
    sliced = [
        row
        for row in pending
        if is_slice(row) and row.signal_id and signals[row.signal_id].execution_style
    ]
    if not sliced:
        return {}
    keys = columns(sorted({(row.signal_id, row.connection_id) for row in sliced}), 2)
    plans = {(plan.signal_id, plan.connection_id): plan for plan in rows(PLANS, keys)}
    slices: dict[tuple[int, str], list[SliceRow]] = {}
    for one in rows(SLICES, keys):
        slices.setdefault((one.signal_id, one.connection_id), []).append(one)
    states = {}
    for row in sliced:
        key = (row.signal_id or 0, row.connection_id)
        if key in plans:  # a first slice may have been sized and not sent
            states[row.id] = _state(row, plans[key], slices[key], now)
    return states


def _state(row: OrderRow, plan: PlanRow, slices: Iterable[SliceRow], now: datetime) -> PlanState:
    number = slice_number(row.leg)
    following = plan.offsets[number : number + 1]
    due = plan.starts_at + timedelta(seconds=following[0]) if following else plan.ends_at
    if is_last_number(number, len(plan.quantities)):
        due += timedelta(seconds=LAST_SECONDS)
    return PlanState(
        number=number,
        planned=tuple(plan.quantities),
        step=plan.step,
        minimum=plan.minimum,
        catches_up=plan.catch_up == CatchUp.CATCH_UP,
        is_late=due <= now,
        siblings=tuple(
            Sibling(
                slice_number(s.leg),
                s.status,
                s.reason,
                s.quantity,
                s.filled_quantity,
                s.is_partly_known,
            )
            for s in slices
            if s.leg != row.leg
        ),
        free=Decimal(0) if plan.is_stopped else plan.free,
        targets=_targets_left(row, plan),
    )


def _targets_left(row: OrderRow, plan: PlanRow) -> tuple[Decimal, ...] | None:
    """Return what a slice must not pass. One that hedges is a position of its own, with all."""
    if row.position_mode == PositionMode.HEDGING or plan.free is None:
        return None
    return (plan.target,) if plan.target is not None else ()


def load_volumes(
    pending: Sequence[OrderRow], signals: Mapping[int, SignalRow], now: datetime
) -> dict[int, VolumeProfile]:
    """Return the volume profiles of VWAP entries that begin, by order id. now: market time.

    Without such entries nothing is read. An entry is left out if too little volume is known.
    """
    beginning = [
        (row, signals[row.signal_id])
        for row in pending
        if row.position_id is None and not is_slice(row) and row.signal_id
        and signals[row.signal_id].execution_style == ExecutionStyle.VWAP
    ]  # fmt: skip
    pairs = {
        (row.data_connection_id, row.pair, signal.duration_seconds or 0)
        for row, signal in beginning
        if row.data_connection_id is not None
    }
    if not pairs:
        return {}
    known = quotes_by_day(pairs, now=now)
    second = Decimal((now - minute_of(now)) // timedelta(microseconds=1)) / 1_000_000
    volumes = {}
    for row, signal in beginning:
        duration = signal.duration_seconds or 0
        days = known.get((row.data_connection_id or 0, row.pair, duration), [])
        if (profile := profile_of(days, second=second, duration=duration)) is not None:
            volumes[row.id] = profile
    return volumes


# ---- the beginning ----------------------------------------------------------------------------
WRITE_PLANS = """
INSERT INTO execution_sliceplan (order_id, connection_id, style, seed, quantity, quantity_step,
  quantity_min, offsets, quantities, catch_up, at_end, arrival_price, starts_at, ends_at,
  profile_days)
SELECT order_id, connection_id, style, order_id, quantity, step, minimum, offsets::int[],
  quantities::numeric[], catch_up, at_end, arrival_price, starts_at, ends_at, profile_days
FROM unnest(%s::bigint[], %s::uuid[], %s::text[], %s::numeric[], %s::numeric[], %s::numeric[],
  %s::text[], %s::text[], %s::text[], %s::text[], %s::numeric[], %s::timestamptz[],
  %s::timestamptz[], %s::int[]) AS t(order_id, connection_id, style, quantity, step, minimum,
  offsets, quantities, catch_up, at_end, arrival_price, starts_at, ends_at, profile_days)
"""
PLAN_COLUMNS = 14

_SCHEDULED = log_rows_sql("m", code=f"'{Code.SLICE_SCHEDULED.value}'", status="'PENDING'")
# On a hedging account each slice is a position of its own, with its own leg (docs/adr/0031).
# Margin and risk are the first slice's, in proportion: until they are sent, slices count in limits.
WRITE_SLICES = f"""
WITH m AS (
  INSERT INTO execution_order (signal_id, connection_id, leg, priority, pair, symbol, side,
    order_type, time_in_force, quantity, expected_price, pip, conversion_rate, margin, risk,
    status, reason, due_at, waiting_since, routed_from_id, route_state, position_leg,
    own_valid_until, has_exit_condition)
  SELECT o.signal_id, o.connection_id, t.leg, o.priority, o.pair, o.symbol, o.side, o.order_type,
    o.time_in_force, t.quantity, o.expected_price, o.pip, o.conversion_rate,
    o.margin * t.quantity / o.quantity, o.risk * t.quantity / o.quantity, 'PENDING',
    '{Code.SLICE_SCHEDULED.value}', clock_timestamp() + make_interval(secs => t.seconds),
    clock_timestamp(), o.routed_from_id, CASE o.route_state WHEN '' THEN '' ELSE 'LAST' END,
    CASE WHEN t.has_own_position THEN t.leg ELSE 'entry' END, o.own_valid_until,
    o.has_exit_condition
  FROM unnest(%s::bigint[], %s::text[], %s::numeric[], %s::float8[], %s::boolean[])
    AS t(order_id, leg, quantity, seconds, has_own_position)
  JOIN execution_order o ON o.id = t.order_id
  ORDER BY t.order_id, t.seconds
  RETURNING id, signal_id, connection_id
)
{insert_log_sql(_SCHEDULED)}
"""


def write_plans(
    begun: Iterable[tuple[OrderRow, Intent]], signals: Mapping[int, SignalRow], now: datetime
) -> None:
    """Store the plans of entries whose first slice got its intent, and the orders of the others.

    In the transaction of the intent: there is a plan if, and only if, its first slice is sent.
    now: market time.
    """
    plans = []
    slices: list[tuple[int, str, Decimal | None, float, bool]] = []
    for row, intent in begun:
        if not intent.slices:
            continue
        signal = signals[row.signal_id or 0]
        ends_at = now + timedelta(seconds=signal.duration_seconds or 0)
        at_end = signal.at_end or AtEnd.LEAVE
        plans.append(
            (
                row.id, row.connection_id, signal.execution_style, intent.whole_quantity,
                intent.slice_step, intent.slice_minimum, array(s.at for s in intent.slices),
                array(s.quantity for s in intent.slices), signal.catch_up or CatchUp.CATCH_UP,
                at_end, intent.expected_price, now, ends_at, intent.profile_days,
            )
        )  # fmt: skip
        hedges = row.position_mode == PositionMode.HEDGING
        slices += [(*one, hedges) for one in _following(row.id, intent.slices, now)]
        if at_end == AtEnd.MARKET:
            number = len(intent.slices) + 1
            seconds = machine_seconds_until(ends_at)
            slices.append((row.id, f"entry-{number}", None, seconds, hedges))
    if plans:
        run(WRITE_PLANS, columns(plans, PLAN_COLUMNS))
    if slices:
        run(WRITE_SLICES, columns(slices, 5))


def _following(
    order_id: int, slices: Sequence[Slice], now: datetime
) -> Iterable[tuple[int, str, Decimal | None, float]]:
    for number, part in enumerate(slices[1:], start=2):
        seconds = machine_seconds_until(now + timedelta(seconds=part.at))
        yield order_id, f"entry-{number}", part.quantity, seconds
