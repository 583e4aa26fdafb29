"""The statements of apply_reports, with the types of their rows. `apply.py` states their order."""

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from common.db.sql import IdRow, Query
from common.reason_codes import Code
from connections.selectors import (
    OWNER_ID_SQL,
    PRESET_JOIN_SQL,
    account_join_sql,
    connection_join_sql,
    on_tick_sql,
    rounded_to_tick_sql,
    tick_sql,
    ticks_join_sql,
)
from events.models import EventKind
from events.outbox import INSERT_EVENTS_SQL
from events.selectors import requested_by_sql
from execution.base.statements import (
    event_rows_sql,
    insert_events_sql,
    insert_log_sql,
    is_partly_known_sql,
    log_rows_sql,
    opens_position_sql,
)
from execution.exits.order_sizes import request_of_leg_sql, target_of_leg_sql
from execution.models import may_move_sql
from execution.reports.close_reasons import close_reason_sql, is_rest_sql
from positions.quantities import close_positions_sql, exit_rate_sql, open_positions_sql
from positions.stop_rule_rows import insert_stop_rules_sql
from signals import effective_levels


class OrderRow(NamedTuple):
    """An order as it is before a batch of reports. quantity: base units.

    waited and age: seconds since it began to wait, and since it was created. tick: only where the
    preset measures slippage in ticks. account_currency: None until the account has been read.
    """

    id: int
    client_order_id: str | None
    status: str
    fence: int
    signal_id: int | None
    connection_id: str
    position_id: int | None
    leg: str
    position_leg: str
    pair: str
    side: str
    attempt: int
    send_retries: int
    quantity: Decimal | None
    filled_quantity: Decimal
    inferred_quantity: Decimal
    unacknowledged: bool
    avg_fill_price: Decimal
    expected_price: Decimal | None
    pip: Decimal | None
    worst_price: Decimal | None
    order_type: str
    waited: float | None
    age: float
    alert_threshold: Decimal | None
    slippage_unit: str
    tick: Decimal | None
    data_connection_id: int | None
    account_currency: str | None
    has_unconverted_fees: bool
    aggregate_id: int | None = None
    pending_action: str = ""
    passed_detail: str = ""
    is_partly_known: bool = False


class NewFill(NamedTuple):
    """A fill that was inserted just now."""

    order_id: int
    broker_fill_id: str
    quantity: Decimal
    price: Decimal
    commission: Decimal
    commission_rate: Decimal | None
    fee_in_base: Decimal
    time: datetime


class SignalLevels(NamedTuple):
    """The levels that a signal has now. last_part: the fraction that its last target closes; None:
    all that is left."""

    signal_id: int
    sl: Decimal | None
    targets: list[Decimal]
    last_part: Decimal | None


class WriteResult(NamedTuple):
    """Whether any channel subscribes to `order.placed`; the positions to rebuild, whose executions
    were not reported in their order."""

    has_placed_channel: bool
    to_rebuild: list[int]


LOAD = Query(
    OrderRow,
    f"""
SELECT o.id, o.client_order_id, o.status, o.fence, o.signal_id,
  o.connection_id::text, o.position_id,  -- text, as in reports; creating UUIDs is slow
  o.leg, o.position_leg, o.pair, o.side, o.attempt, o.send_retries, o.quantity, o.filled_quantity,
    o.inferred_quantity,
  o.acknowledged_at IS NULL AS unacknowledged,
  coalesce(o.avg_fill_price, 0) AS avg_fill_price, o.expected_price, o.pip,
  o.worst_price, o.order_type,
  extract(epoch FROM clock_timestamp() - o.waiting_since)::float8 AS waited,
  extract(epoch FROM clock_timestamp() - o.created_at)::float8 AS age,
  t.slippage_alert_threshold_pips AS alert_threshold,
  coalesce(t.slippage_unit, '') AS slippage_unit,
  CASE WHEN t.slippage_unit = 'TICKS' THEN {tick_sql("o")}
    END AS tick, c.data_connection_id,
  a.currency AS account_currency, o.unconverted_fees <> '{{}}' AS has_unconverted_fees,
  o.aggregate_id, o.pending_action,
  CASE o.pending_action WHEN 'PASSED' THEN coalesce((
    SELECT l.detail FROM execution_executionlog l
    WHERE l.order_id = o.id AND l.code = '{Code.LEVEL_PAST_ENTRY.value}'
    ORDER BY l.id DESC LIMIT 1), '') ELSE '' END AS passed_detail,
  {is_partly_known_sql("o")} AS is_partly_known
FROM execution_order o
{connection_join_sql("o.connection_id")}
{PRESET_JOIN_SQL}
{account_join_sql()}
WHERE o.client_order_id = ANY(%(client_order_ids)s::text[]) OR o.id = ANY(%(ids)s)
ORDER BY o.id FOR NO KEY UPDATE OF o
""",
)

INSERT_FILLS = Query(
    NewFill,
    """
INSERT INTO execution_fill (connection_id, broker_fill_id, order_id, side, quantity, price,
  commission, commission_currency, commission_rate, commission_rate_at, fee_in_base, time, inferred)
SELECT * FROM unnest(%s::uuid[], %s::text[], %s::bigint[], %s::text[], %s::numeric[],
  %s::numeric[], %s::numeric[], %s::text[], %s::numeric[], %s::timestamptz[], %s::numeric[],
  %s::timestamptz[], %s::boolean[]) AS d(connection_id, broker_fill_id)
WHERE NOT EXISTS (SELECT FROM execution_voidedfill v  -- corrected to nothing before
  WHERE v.connection_id = d.connection_id AND v.broker_fill_id = d.broker_fill_id)
ON CONFLICT (connection_id, broker_fill_id) DO NOTHING
RETURNING order_id, broker_fill_id, quantity, price, commission, commission_rate, fee_in_base, time
""",
)

# What `WRITE` receives of each order. Quantities: base units; values: quantity × price.
COLUMNS = {
    "id": "bigint",
    "status": "text",
    "moved": "boolean",  # the status changed
    "reason": "text",
    "detail": "text",
    "broker_order_id": "text",
    "broker_position_id": "text",
    "filled": "numeric",  # in all
    "average": "numeric",  # price of all fills
    "slippage": "numeric",
    "slippage_unit": "text",
    "new_quantity": "numeric",  # of the new fills, as are new_value and new_commission
    "new_value": "numeric",
    "opened": "numeric",  # of an entry: what its position gets, after fees in the base currency
    "opened_value": "numeric",
    "new_commission": "numeric",  # account currency
    "first_fill": "timestamptz",
    "last_fill": "timestamptz",
    "answered": "boolean",  # the broker has reported on it
    "is_reply": "boolean",  # in reply to our call or query, so with all that the broker knew
    "was_in_flight": "boolean",
    "ended": "boolean",
    "ended_target": "int",  # the target whose exit ended with something filled; else NULL
    "attempt": "int",
    "send_retries": "int",
    "wait": "double precision",  # seconds until a row that goes back to PENDING may run
    "implied": "boolean",  # the broker skipped SUBMITTED: the log gets the line
    "numbers": "text",  # JSON of quantities and prices, for the log and the events
    "levels_reported": "boolean",  # the broker reported these levels with the execution
    "reported_sl": "numeric",
    "reported_tp": "numeric",
    "reported_quantity": "numeric",
}

_PLACED_REQUESTED_BY = requested_by_sql(EventKind.ORDER_PLACED)
_UNNEST = ", ".join(f"%({name})s::{kind}[]" for name, kind in COLUMNS.items())
# e: the signal's levels.
_TARGET_COUNT = "cardinality(e.targets::numeric[])"
# After a target for all the position's own level stays, for what may still be open. The last one
# may be of a part; one beyond the list, which a MODIFY has made shorter, is for all.
_TARGET = f"""coalesce((e.targets::numeric[])[executed.last_target + 1],
        CASE WHEN executed.last_part IS NOT NULL THEN NULL
          WHEN executed.last_target = p.tp_number THEN p.tp
          ELSE (e.targets::numeric[])[{_TARGET_COUNT}] END)"""
_NEXT_TARGET = f"""(SELECT {on_tick_sql(_TARGET, "p")}
      FROM unnest(%(signal_ids)s::bigint[], %(targets)s::text[]) AS e(signal_id, targets)
      WHERE e.signal_id = p.signal_id)"""

# The columns that `open_positions_sql` inserts. u, levels: as in `WRITE`.
_EXECUTIONS = f"""
  SELECT u.connection_id, u.signal_id, u.position_leg, u.pair, u.symbol, u.side, u.opened, u.opened,
    round(u.opened_value / u.opened, 18), {rounded_to_tick_sql("l.sl", "step.sl", "u.side")},
    {rounded_to_tick_sql("l.tp", "step.tp", "u.side")},
    CASE WHEN l.sl IS NULL THEN '' WHEN u.stop_loss IS NOT NULL THEN 'BROKER' ELSE 'ENGINE' END,
    CASE WHEN l.tp IS NULL THEN '' WHEN u.take_profit IS NOT NULL AND l.number <= 1
      AND e.last_part IS NULL THEN 'BROKER' ELSE 'ENGINE' END,
    -- What the broker reports, never what was sent; a level that this order lacks is another's.
    CASE WHEN u.stop_loss IS NOT NULL THEN u.reported_sl END,
    CASE WHEN u.take_profit IS NOT NULL THEN u.reported_tp END, u.reported_quantity,
    CASE WHEN u.levels_reported THEN clock_timestamp() END,
    u.broker_position_id, c.data_connection_id, u.pip,
    u.conversion_rate, u.new_commission, u.first_fill,
    {effective_levels.close_time_sql("u.signal_id", "u.first_fill")}, e.when_signal_id, e.when_state
  FROM u
  {connection_join_sql("u.connection_id")}
  JOIN levels e ON e.signal_id = u.signal_id
  CROSS JOIN LATERAL (SELECT coalesce(u.own_stop_loss, e.sl) AS sl,
    coalesce(u.own_take_profit, (e.targets::numeric[])[1]) AS tp,
    cardinality(e.targets::numeric[]) AS number) l
  {ticks_join_sql("u", sl="l.sl", tp="l.tp")}
  WHERE u.new_quantity > 0 AND u.opened > 0 AND u.position_id IS NULL"""

# The orders of the request of an exit `u`: itself and, rarely, others. now: as this statement
# leaves them, NULL for those that it does not change.
_OF_REQUEST = f"""FROM execution_order x LEFT JOIN u now ON now.id = x.id
      WHERE x.position_id = u.position_id
        AND {request_of_leg_sql("x.leg")} = {request_of_leg_sql("u.leg")}"""

# A target that others follow is over when all orders of a request have ended with something filled:
# what the broker leaves of it is closed at the next one. If one failed, its next exit closes the
# rest. The last target is over once they have filled completely, which a broker's own exit, always
# filled, does not state. If it closes all, its price stays, for what another exit leaves open or a
# late fill adds. If it closes a part, that must be closed, too (`close_positions_sql`): another
# exit may have left less for it, and a MODIFY may have enlarged it.
_HAVE_ENDED = f"""u.ended_target IS NOT NULL AND NOT EXISTS (
      SELECT {_OF_REQUEST} AND CASE WHEN now.id IS NULL
        THEN x.filled_quantity = 0 OR x.done_at IS NULL
        ELSE now.filled_quantity = 0 OR now.done_at IS NULL END)"""

_IS_OVER = f"""{_HAVE_ENDED} AND (u.ended_target < {_TARGET_COUNT}
      OR u.client_order_id IS NOT NULL AND NOT EXISTS (
      SELECT {_OF_REQUEST} AND coalesce(now.status, x.status) <> 'FILLED'))"""
_TARGET_FILLED = f"""(SELECT sum(coalesce(now.filled_quantity, x.filled_quantity))
      FROM execution_order x LEFT JOIN u now ON now.id = x.id
      WHERE x.position_id = s.position_id
        AND {target_of_leg_sql("x.leg")} = 'tp-' || s.last_target)"""

_RATE = exit_rate_sql("u")  # a batch may have several exits of one position, each with its own

# The source of `close_positions_sql`.
_EXITS = "executed LEFT JOIN newest_exit USING (position_id)"

# An exit that is older than an entry of its position.
_IS_LATE = f"""closed_quantity > 0 AND first_fill < (SELECT max(f.time)
    FROM execution_order o JOIN execution_fill f ON f.order_id = o.id
    WHERE {opens_position_sql("o", "closed")})"""

_STEP = log_rows_sql(
    "u m",
    code="""CASE WHEN m.reason <> '' THEN m.reason WHEN m.new_quantity > 0 THEN 'FILL'
      WHEN m.status = 'SUBMITTED' THEN 'ACCEPTED' ELSE m.status END""",
    detail="m.detail",
    numbers="m.numbers",
)
_IMPLIED_STEP = log_rows_sql("u m", code="'SUBMITTED'", status="'SUBMITTED'", where="m.implied")
_MOVED = event_rows_sql(
    "u m",
    kind="'order.' || lower(m.status)",
    payload="m.numbers",
    where=f"""m.moved AND m.status IN ('FILLED', 'PARTIALLY_FILLED', 'REJECTED', 'FAILED',
    'CANCELLED', 'EXPIRED', 'UNKNOWN') AND (m.status <> 'PARTIALLY_FILLED'
    OR %(notifies_parts)s::boolean) AND NOT {may_move_sql("m")}""",  # `route_failed` notifies
)
_OPENED = event_rows_sql(
    "opened m",
    kind="'position.opened'",
    payload="""jsonb_build_object('position', m.id, 'quantity', trim_scale(m.quantity)::text,
      'price', trim_scale(m.entry_price)::text)""",
    order_id="NULL::bigint",
    where=f"""m.is_new  -- the event of its fill states the same
      AND {OWNER_ID_SQL} IN ({requested_by_sql(EventKind.POSITION_OPENED)})""",
)
_CLOSED = event_rows_sql(
    "closed m",
    kind="'position.closed'",
    payload="""jsonb_build_object('position', m.id, 'reason', m.close_reason,
      'pnl', m.realized_pnl::text, 'commission', m.commission::text, 'swap', m.swap::text,
      'unconverted_fees', m.unconverted_fees)""",
    order_id="NULL::bigint",
    where="m.quantity = 0 AND m.closed_quantity > 0",
)

# The source of `insert_stop_rules_sql`. A routed entry has the subscription of another connection.
_OPENED_FOR = """(SELECT o.*, coalesce(r.routed_from_id, o.connection_id) AS subscriber_id
    FROM opened o LEFT JOIN (
      SELECT DISTINCT connection_id, signal_id, routed_from_id FROM u
      WHERE routed_from_id IS NOT NULL) r
    ON r.connection_id = o.connection_id AND r.signal_id = o.signal_id) m"""

_SHARE_MOVED = f"(d.reason = '{Code.SHARE_MOVED.value}' AND o.status = 'FILLED')"

# d: what was decided for each order (`COLUMNS`). u: the orders after the update, with what was
# decided: to join both again would compare each row with each, as the kept plan expects few rows.
# levels: what positions of these signals begin with.
WRITE = Query(
    WriteResult,
    f"""
WITH d AS (
  SELECT * FROM unnest({_UNNEST}) AS t({", ".join(COLUMNS)})
), u AS (
  UPDATE execution_order o SET status = d.status,
    -- Of a filled order that gave a share its size and what it has differ.
    reason = CASE WHEN d.moved OR {_SHARE_MOVED} THEN d.reason ELSE o.reason END,
    detail = CASE WHEN d.moved THEN left(d.detail, 300)
      WHEN {_SHARE_MOVED} AND o.reason = d.reason THEN left(o.detail || ' ' || d.detail, 300)
      WHEN {_SHARE_MOVED} THEN left(d.detail, 300) ELSE o.detail END,
    broker_order_id = coalesce(nullif(d.broker_order_id, ''), o.broker_order_id),
    filled_quantity = d.filled, avg_fill_price = nullif(d.average, 0),
    commission = o.commission + d.new_commission,
    slippage_pips = coalesce(d.slippage, o.slippage_pips),
    slippage_unit = CASE WHEN d.slippage IS NULL THEN o.slippage_unit ELSE d.slippage_unit END,
    attempt = d.attempt, send_retries = d.send_retries,
    acknowledged_at = CASE WHEN d.answered THEN coalesce(o.acknowledged_at, clock_timestamp())
      ELSE o.acknowledged_at END,
    filled_at = CASE WHEN d.status = 'FILLED' THEN coalesce(o.filled_at, clock_timestamp())
      ELSE o.filled_at END,
    done_at = CASE WHEN d.ended THEN coalesce(o.done_at, clock_timestamp()) END,
    -- An unsolicited report does not contain all that our own lost reply contained.
    lookup_after = CASE WHEN d.is_reply OR d.status = 'FILLED' THEN NULL
      WHEN d.status = 'UNKNOWN' THEN clock_timestamp()
      WHEN d.was_in_flight AND d.answered THEN greatest(o.answer_by, clock_timestamp())
      ELSE o.lookup_after END,
    waiting_since = CASE WHEN d.status = 'PENDING'
      THEN coalesce(o.waiting_since, clock_timestamp()) END,
    due_at = CASE WHEN d.status = 'PENDING'
      THEN clock_timestamp() + make_interval(secs => d.wait)
      WHEN o.pending_action <> '' AND (d.was_in_flight OR d.ended) THEN clock_timestamp()
      ELSE o.due_at END
  FROM d WHERE o.id = d.id
  RETURNING o.id, o.status, o.connection_id, o.signal_id, o.position_id, o.pair, o.symbol, o.side,
    o.leg, o.position_leg, o.stop_loss, o.take_profit, o.pip, o.conversion_rate, o.quantity,
    o.route_state, o.routed_from_id, o.own_stop_loss, o.own_take_profit, d.moved, d.reason,
    d.detail, d.numbers, d.implied, d.broker_position_id, d.new_quantity, d.new_value, d.opened,
    d.opened_value, d.new_commission, d.first_fill, d.ended_target, d.levels_reported,
    d.reported_sl, d.reported_tp, d.reported_quantity, o.filled_quantity, o.done_at,
    o.client_order_id
), levels AS MATERIALIZED (
  SELECT e.*, w.signal_id AS when_signal_id, w.state AS when_state
  FROM unnest(%(signal_ids)s::bigint[], %(sls)s::numeric[], %(targets)s::text[],
    %(last_parts)s::numeric[]) AS e(signal_id, sl, targets, last_part)
  CROSS JOIN LATERAL {effective_levels.exit_condition_sql("e.signal_id")} w
), opened AS (
  {open_positions_sql(_EXECUTIONS)}
), ruled AS (
  {insert_stop_rules_sql(_OPENED_FOR)}
), summed AS (
  SELECT u.position_id, sum(u.new_quantity) AS quantity,
    sum(u.new_quantity * {_RATE}) AS weight, sum(u.new_value * {_RATE}) AS converted,
    sum(u.new_commission) AS commission, min(u.first_fill) AS first_fill,
    max(u.ended_target) FILTER (WHERE {_IS_OVER}) AS last_target,
    max({_TARGET_COUNT}) AS target_count, max(e.last_part) AS part
  FROM u LEFT JOIN levels e ON u.ended_target IS NOT NULL AND e.signal_id = u.signal_id
  WHERE u.position_id IS NOT NULL GROUP BY u.position_id
), executed AS (
  SELECT s.*, l.last_part, CASE WHEN l.last_part IS NOT NULL THEN {_TARGET_FILLED} END
    AS target_filled
  FROM summed s
  CROSS JOIN LATERAL (
    SELECT CASE WHEN s.last_target = s.target_count THEN s.part END AS last_part) l
), newest_exit AS (  -- by the time of execution, not of the report
  SELECT DISTINCT ON (x.position_id) x.position_id,
    max(f.time) OVER (PARTITION BY x.position_id) AS time,
    {close_reason_sql("x.leg", "x.position_id", "x.signal_id")} AS close_reason
  FROM executed JOIN execution_order x ON x.position_id = executed.position_id
  JOIN execution_fill f ON f.order_id = x.id WHERE executed.quantity > 0
  ORDER BY x.position_id, {is_rest_sql("x.leg")}, f.time DESC, f.broker_fill_id DESC
), closed AS (
  {close_positions_sql(_EXITS, next_target=_NEXT_TARGET)}
), logged AS (
  {insert_log_sql(_IMPLIED_STEP, _STEP)}
), notified AS (
  {insert_events_sql(_MOVED, _OPENED, _CLOSED)}
)
SELECT EXISTS ({_PLACED_REQUESTED_BY}) AS has_placed_channel,
  ARRAY(SELECT id FROM opened WHERE has_exited
    UNION ALL SELECT id FROM closed WHERE {_IS_LATE}) AS to_rebuild
""",
)

# Only for owners with a channel that subscribes to it. An acceptance that is reported again, after
# the order was UNKNOWN, has its second line in the log and makes no event.
NOTIFY_PLACED = insert_events_sql(
    event_rows_sql(
        "execution_order m",
        kind="'order.placed'",
        payload="jsonb_build_object('broker_order_id', m.broker_order_id)",
        where=f"""m.id = ANY(%s)
  AND {OWNER_ID_SQL} IN ({_PLACED_REQUESTED_BY})
  AND (SELECT count(*) FROM execution_executionlog l
    WHERE l.order_id = m.id AND l.status = 'SUBMITTED') = 1""",
    )
)

EFFECTIVE_LEVELS = Query(
    SignalLevels,
    f"""
SELECT s.id AS signal_id, {effective_levels.SL} AS sl, {effective_levels.TARGET_PRICES} AS targets,
  {effective_levels.LAST_PART} AS last_part
FROM signals_signal s {effective_levels.JOIN}
WHERE s.id = ANY(%s)
""",
)

# The exit is retried for as long as its position is open; its owner is notified once.
NOTIFY_EXIT_DELAYED = insert_events_sql(
    event_rows_sql(
        "execution_order m",
        kind="'exit.delayed'",
        payload="""jsonb_build_object('code', m.reason, 'detail', m.detail,
  'send_retries', m.send_retries)""",
        where="m.id = ANY(%s)",
    )
)

END_LOOK_UPS = """
UPDATE execution_order SET lookup_after = NULL, lookup_claimed_until = NULL WHERE id = ANY(%s)
"""

# A fill arrived after its order had ended, and a CLOSE of its signal was published meanwhile.
CLOSE_AGAIN = """
UPDATE execution_order o SET pending_action = 'CLOSE', due_at = clock_timestamp()
WHERE o.id = ANY(%s) AND EXISTS (
  SELECT FROM signals_signal s WHERE s.refers_to_id = o.signal_id AND s.action = 'CLOSE'
    AND s.close_fraction = 1 AND s.published_at IS NOT NULL)
"""

# Orders that we had given up are live. Those that had been withdrawn are cancelled at the broker.
_UNEXPECTEDLY_LIVE = event_rows_sql(
    "d JOIN execution_order m USING (id)",
    kind="'order.unexpectedly_live'",
    payload="jsonb_build_object('code', 'UNEXPECTEDLY_LIVE')",
)
NOTIFY_UNEXPECTEDLY_LIVE = f"""
WITH d AS (SELECT * FROM unnest(%s::bigint[], %s::boolean[]) AS t(id, withdrawn)),
cancelling AS (
  UPDATE execution_order o SET pending_action = 'CANCEL', due_at = clock_timestamp()
  FROM d WHERE o.id = d.id AND d.withdrawn AND o.pending_action = ''
)
{insert_events_sql(_UNEXPECTEDLY_LIVE)}
"""

# Orders among these that an operator has retried.
RETRIED_BY_OPERATOR = Query(
    IdRow,
    """
SELECT DISTINCT order_id AS id FROM execution_executionlog
WHERE order_id = ANY(%s) AND code = 'OPERATOR_RETRY'
""",
)

# The steps that brokers skipped, for each order before its own line in the log.
LOG_IMPLIED_STEPS = """
INSERT INTO execution_executionlog (order_id, signal_id, connection_id, code, status)
SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::uuid[], %s::text[], %s::text[])
"""

# beyond: the worst of the prices of its new fills that is beyond its limit, if any.
_PAST_LIMIT = (
    "unnest(%s::bigint[], %s::numeric[]) AS d(id, beyond) JOIN execution_order m USING (id)"
)
NOTIFY_SLIPPAGE_ALERTS = f"""
{INSERT_EVENTS_SQL}
SELECT 'slippage.alert', {OWNER_ID_SQL}, m.connection_id, m.signal_id, m.id,
  jsonb_build_object('expected_price', m.expected_price::text, 'fill_price',
    m.avg_fill_price::text, 'slippage', m.slippage_pips::text,
    'slippage_unit', m.slippage_unit,
    'passed_limit', CASE WHEN d.beyond IS NOT NULL THEN m.worst_price::text END,
    'beyond_limit_at', d.beyond::text,
    'slippage_pips', CASE m.slippage_unit WHEN 'PIPS' THEN m.slippage_pips::text END,
    'bid', q.bid::text,
    'ask', q.ask::text, 'quote_time', q.time)
FROM {_PAST_LIMIT}
{connection_join_sql("m.connection_id")}
LEFT JOIN prices_latestquote q
  ON q.data_connection_id = c.data_connection_id AND q.symbol = m.pair
"""

LOG_SLIPPAGE_ALERTS = insert_log_sql(
    log_rows_sql(
        _PAST_LIMIT,
        code="'SLIPPAGE_ALERT'",
        numbers="""
  jsonb_strip_nulls(jsonb_build_object('expected_price', m.expected_price::text, 'fill_price',
    m.avg_fill_price::text, 'slippage', m.slippage_pips::text,
    'slippage_unit', m.slippage_unit, 'beyond_limit_at', d.beyond::text,
    'slippage_pips', CASE m.slippage_unit WHEN 'PIPS' THEN m.slippage_pips::text END))""",
    )
)
