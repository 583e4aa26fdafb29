"""The statements of the claim; `claim.py` describes their order."""

from common.sql import Query
from connections.selectors import (
    PRESET_JOIN_SQL,
    SPEC_COLUMNS,
    TICK_SQL,
    account_join_sql,
    connection_join_sql,
)
from execution.base.statements import (
    event_rows_sql,
    insert_events_sql,
    insert_log_sql,
    log_rows_sql,
)
from execution.reports.transitions import DEFERRED
from execution.submission.rows import (
    ExitRow,
    ExposureRow,
    InstrumentRow,
    IntentRow,
    OrderRow,
    QuoteRow,
    SideRow,
    SignalRow,
    SourceRow,
    WaitingRow,
)
from positions.broker_levels import prepare_exits_sql, restore_levels_sql
from positions.joins import position_join_sql
from signals import effective_levels

LOCK = """
SELECT connection_id::text FROM connections_connectionlock WHERE connection_id IN (
  SELECT connection_id FROM execution_order WHERE id = ANY(%s::bigint[]) AND status = 'PENDING')
ORDER BY connection_id FOR NO KEY UPDATE {skip}
"""

# What the evaluation of an order needs, besides what `load_evaluation_context` reads. Aliases: o is
# the order, s its signal (in a preview: the draft's fields).
ORDER_COLUMNS = f"""o.id, o.status, o.connection_id::text, o.position_id, o.signal_id, o.leg,
  o.pair, o.symbol, o.side, o.order_type, o.time_in_force, o.quantity, o.limit_price,
  o.stop_price, o.attempt, o.send_retries, o.reason, o.retried_at, o.client_order_id,
  o.due_at <= clock_timestamp() AND o.pending_action = '' AS is_due, {SPEC_COLUMNS},
    c.instrument_book,
  c.data_connection_id, c.is_active, c.is_paused, c.broker_host, c.lane,
  a.currency, a.balance, a.equity, a.free_margin, a.leverage, a.position_mode,
  extract(epoch FROM clock_timestamp() - a.read_at)::int AS account_age,
  t.sizing_mode, t.fixed_quantity, t.percent_of_balance, t.fixed_amount, t.risk_percent,
  t.multiplier, t.small_multiplier, t.normal_multiplier, t.large_multiplier, t.max_quantity,
  t.max_open_positions, t.max_leverage, t.max_portfolio_risk_percent, t.max_slippage_pips,
  t.slippage_unit,
  t.max_signal_age_seconds, t.broker_holds_stops,
  coalesce(b.multiplier, 1) AS subscription_multiplier, b.symbol_map,
  s.currency_pair AS signal_pair"""
ACCOUNT_JOINS = f"""{connection_join_sql("o.connection_id")}
{account_join_sql()}
{PRESET_JOIN_SQL}
LEFT JOIN connections_subscription b ON b.connection_id = c.id AND b.feed_id = s.feed_id"""

# Status is filtered in Python: here the planner would scan the index of the whole backlog.
LOAD = Query(
    OrderRow,
    f"""
SELECT {ORDER_COLUMNS}
FROM execution_order o LEFT JOIN signals_signal s ON s.id = o.signal_id
{ACCOUNT_JOINS}
WHERE o.id = ANY(%s::bigint[]) ORDER BY o.priority, o.id
""",
)

# closable: what this exit may still close, after exits that are live and exits that wait ahead of
# it. The other columns are the input of `safety.exit_blocker`: whether the broker was read after
# our last activity, and whether the broker holds other positions of ours together with this one.
EXITS = Query(
    ExitRow,
    f"""
SELECT o.id AS order_id, p.quantity, p.opened_quantity, p.broker_position_id, p.entry_price, p.pip,
  p.conversion_rate, p.protection_suspended, p.broker_quantity, p.broker_sl IS NOT NULL
  OR p.broker_tp IS NOT NULL
    OR p.levels_reported_at IS NULL AND (p.sl_guardian = 'BROKER' OR p.tp_guardian = 'BROKER')
    AS is_protected,  -- levels that were sent and not confirmed may exist
  coalesce(p.broker_checked_at > p.last_activity_at
    AND p.broker_checked_at > clock_timestamp() - interval '10 seconds', false) AS is_read,
  coalesce(p.broker_checked_at > p.last_activity_at, false) AS is_known,
    p.broker_quantity_is_shared,
  -- compared_for: seconds that an exit has awaited a comparison, if one began after the wait and
  -- after our last activity, and found the position; else NULL. needs_comparison: request one.
  CASE WHEN o.reason = 'EXIT_AWAITS_COMPARISON' AND r.compared_at > p.last_activity_at
      AND r.compared_at >= o.waiting_since
      AND NOT coalesce(p.missing_since > p.last_activity_at, false)
    THEN extract(epoch FROM clock_timestamp() - o.waiting_since) END AS compared_for,
  r.reconcile_requested_at IS NULL AND NOT coalesce(
    r.compared_at > p.last_activity_at AND r.compared_at >= o.waiting_since,
      false) AS needs_comparison,
  EXISTS (SELECT FROM execution_order x WHERE x.position_id = p.id AND x.id <> o.id
    AND (x.status IN ('SUBMITTING', 'UNKNOWN', 'SUBMITTED', 'PARTIALLY_FILLED', 'CANCEL_REQUESTED')
      OR x.status = 'PENDING' AND x.id < o.id)) AS has_exit_ahead,
  EXISTS (SELECT FROM positions_executionposition n WHERE n.connection_id = p.connection_id
    AND n.quantity > 0 AND n.id <> p.id AND n.symbol = p.symbol
    AND n.broker_position_id = p.broker_position_id)
  OR a.position_mode IS DISTINCT FROM 'HEDGING' AND EXISTS (
    SELECT FROM execution_order x WHERE x.connection_id = p.connection_id
    AND x.position_id IS NULL AND x.symbol = p.symbol AND x.signal_id <> p.signal_id
    AND x.status IN ('SUBMITTING', 'UNKNOWN', 'SUBMITTED', 'PARTIALLY_FILLED', 'CANCEL_REQUESTED'))
    AS shares_broker_position,
  (SELECT e.client_order_id FROM execution_order e WHERE e.connection_id = p.connection_id
    AND e.signal_id = p.signal_id AND e.leg = 'entry' AND e.leg LIKE 'entry%%'
  ) AS entry_client_order_id,  -- the LIKE matches the condition of the index `one_entry`
  p.quantity - coalesce((
    SELECT sum(x.quantity - x.filled_quantity) FROM execution_order x
    WHERE x.position_id = p.id AND x.id <> o.id
      AND (x.status IN ('SUBMITTING', 'UNKNOWN', 'SUBMITTED', 'PARTIALLY_FILLED',
        'CANCEL_REQUESTED') OR x.status = 'PENDING' AND x.id < o.id)), 0) AS closable
FROM execution_order o {position_join_sql("o.position_id")}
{account_join_sql("p.connection_id")}
LEFT JOIN execution_accountsyncstate r ON r.connection_id = p.connection_id
WHERE o.id = ANY(%s)
""",
)

SIGNALS = Query(
    SignalRow,
    f"""
SELECT s.id, s.feed_id, s.direction, s.order_type, s.open_price, s.published_at, s.valid_until,
  s.max_slippage_pips, s.max_slippage_unit, s.risk_category, s.cancelled_at,
  {effective_levels.SL} AS sl, {effective_levels.TARGET_PRICES} AS target_prices,
  {effective_levels.TARGET_FRACTIONS} AS target_fractions,
  EXISTS (SELECT FROM signals_signal f WHERE f.refers_to_id = s.id AND f.action = 'CLOSE'
    AND f.close_fraction = 1 AND f.published_at IS NOT NULL) AS is_closed
FROM signals_signal s {effective_levels.JOIN}
WHERE s.id = ANY(%s)
""",
)

INSTRUMENTS = Query(
    InstrumentRow,
    f"""
SELECT book, pair, symbol, is_preferred, digits, pip, quantity_min, quantity_step, quantity_max,
  stops_level, margin_rate, close_min, close_worth_min, {TICK_SQL} AS tick
FROM connections_instrument i WHERE book = ANY(%s) AND pair = ANY(%s)
""",
)

QUOTES = Query(
    QuoteRow,
    """
SELECT data_connection_id, symbol, bid, ask, time,
  extract(epoch FROM clock_timestamp() - received_at)::int AS age
FROM prices_latestquote WHERE data_connection_id = ANY(%s::bigint[]) AND symbol = ANY(%s::text[])
""",
)

SOURCES = Query(
    SourceRow,
    """
SELECT d.id, d.name, d.is_active AND d.kind = 'broker' AS is_live, coalesce(h.error, '') AS error,
  d.user_id IS NOT NULL AS is_own, coalesce(h.error_code, '') AS error_code,
  coalesce(h.pairs, '{}') AS pairs
FROM connections_dataconnection d
LEFT JOIN connections_sourcehealth h ON h.source_id = d.id WHERE d.id = ANY(%s)
""",
)

EXPOSURE = Query(
    ExposureRow,
    f"""
SELECT connection_id::text, sum(n)::int AS positions, sum(notional) AS notional,
  sum(margin) AS margin, sum(risk) AS risk, bool_or(unanswered) AS unanswered
FROM (
  SELECT p.connection_id, 1 AS n, p.quantity * p.entry_price * p.conversion_rate AS notional,
    0 AS margin, false AS unanswered,
    CASE WHEN p.sl IS NULL
      THEN p.quantity * p.entry_price * p.conversion_rate / greatest(coalesce(a.leverage, 1), 1)
      ELSE greatest((p.entry_price - p.sl) * CASE p.side WHEN 'BUY' THEN 1 ELSE -1 END, 0)
        * p.quantity * p.conversion_rate END AS risk
  FROM positions_executionposition p
  {account_join_sql("p.connection_id")}
  WHERE p.connection_id = ANY(%(connections)s::uuid[]) AND p.quantity > 0
  UNION ALL
  SELECT connection_id, CASE WHEN filled_quantity > 0 THEN 0 ELSE 1 END,
    (quantity - filled_quantity) * coalesce(expected_price, 0) * coalesce(conversion_rate, 0),
    coalesce(margin, 0) * (quantity - filled_quantity) / quantity,
    status = 'SUBMITTING' AND answer_by > clock_timestamp()
      AND submitted_at < clock_timestamp() - make_interval(secs => %(unanswered)s),
    coalesce(risk, 0) * (quantity - filled_quantity) / quantity
  FROM execution_order
  WHERE connection_id = ANY(%(connections)s::uuid[]) AND position_id IS NULL
    AND status IN ('SUBMITTING', 'UNKNOWN', 'SUBMITTED', 'PARTIALLY_FILLED', 'CANCEL_REQUESTED')
) exposure GROUP BY connection_id
""",
)

# The oldest entry of each account that waits for an earlier command: entries leave in order.
OLDEST_WAITING = Query(
    WaitingRow,
    """
SELECT connection_id::text, min(id) AS id FROM execution_order
WHERE connection_id = ANY(%s::uuid[]) AND status = 'PENDING' AND reason <> '' AND reason = %s
  AND position_id IS NULL AND pending_action = ''
GROUP BY connection_id
""",
)

# On a netting account an opposite entry would close what another signal opened. is_closing: exits
# for all of it are live, so an opposite entry only has to wait.
OPEN_SIDES = Query(
    SideRow,
    """
SELECT connection_id::text, pair, side, quantity <= reserved AS is_closing
FROM positions_executionposition
WHERE connection_id = ANY(%(connections)s::uuid[]) AND quantity > 0
UNION
SELECT connection_id::text, pair, side, pending_action = 'CLOSE' FROM execution_order
WHERE connection_id = ANY(%(connections)s::uuid[]) AND position_id IS NULL
  AND status IN ('SUBMITTING', 'UNKNOWN', 'SUBMITTED', 'PARTIALLY_FILLED', 'CANCEL_REQUESTED')
""",
)

_DEFERRED = f"{{{','.join(sorted(code.value for code in DEFERRED))}}}"

_DECIDED = log_rows_sql(
    "moved m JOIN decided d USING (id)",
    code="coalesce(nullif(d.reason, ''), 'INTENT')",
    detail="d.detail",
    numbers="d.numbers",
)
_NOT_SENT = event_rows_sql(
    "moved m JOIN decided d USING (id)",
    kind="'order.' || lower(m.status)",
    payload="jsonb_build_object('code', d.reason, 'detail', d.detail)",
    where="m.status <> 'SUBMITTING'",
)

WRITE = Query(
    IntentRow,
    f"""
WITH decided AS (
  SELECT * FROM unnest(%(id)s::bigint[], %(status)s::text[], %(reason)s::text[],
    %(detail)s::text[], %(numbers)s::text[], %(client_order_id)s::text[], %(symbol)s::text[],
    %(quantity)s::numeric[], %(limit_price)s::numeric[], %(stop_price)s::numeric[],
    %(stop_loss)s::numeric[], %(take_profit)s::numeric[], %(expected_price)s::numeric[],
    %(pip)s::numeric[], %(rate)s::numeric[], %(margin)s::numeric[], %(risk)s::numeric[],
    %(worst_price)s::numeric[])
  AS t(id, status, reason, detail, numbers, client_order_id, symbol, quantity, limit_price,
    stop_price, stop_loss, take_profit, expected_price, pip, rate, margin, risk, worst_price)
), moved AS (
  UPDATE execution_order o SET status = d.status, reason = d.reason, detail = left(d.detail, 300),
    client_order_id = coalesce(d.client_order_id, o.client_order_id), symbol = d.symbol,
    quantity = coalesce(d.quantity, o.quantity), limit_price = d.limit_price,
    stop_price = d.stop_price, stop_loss = d.stop_loss, take_profit = d.take_profit,
    expected_price = d.expected_price, pip = d.pip, conversion_rate = d.rate, margin = d.margin,
    risk = d.risk, worst_price = d.worst_price, fence = o.fence + 1,
    -- An order that was only deferred keeps the start of its wait: it may be deferred again.
    waiting_since = CASE WHEN d.status = 'SUBMITTING' AND o.reason = ANY('{_DEFERRED}')
      THEN o.waiting_since END,
    worker_id = %(worker_id)s, absence_confirmations = 0,
    answer_by = clock_timestamp() + make_interval(secs => %(answer_within)s),
    validated_at = clock_timestamp(),
    submitted_at = CASE WHEN d.status = 'SUBMITTING' THEN clock_timestamp() END,
    done_at = CASE WHEN d.status <> 'SUBMITTING' THEN clock_timestamp() END
  FROM decided d WHERE o.id = d.id AND o.status = 'PENDING'
  RETURNING o.id, o.fence, o.client_order_id, o.status, o.signal_id, o.connection_id
), logged AS (
  {insert_log_sql(_DECIDED)}
), notified AS (
  {insert_events_sql(_NOT_SENT)}
)
SELECT id, fence, client_order_id FROM moved WHERE status = 'SUBMITTING'
""",
)
WRITE_COLUMNS = (
    "id", "status", "reason", "detail", "numbers", "client_order_id", "symbol", "quantity",
    "limit_price", "stop_price", "stop_loss", "take_profit", "expected_price", "pip", "rate",
    "margin", "risk", "worst_price",
)  # fmt: skip

# Request what a waiting exit needs: a read of the broker's position, or the removal of its levels
# (lift). If the broker holds too little, the reads back off, up to 30 seconds apart.
REQUEST_PREREQUISITES = prepare_exits_sql("""
  SELECT o.position_id AS id, bool_or(w.lift) AS lift, coalesce(least(30, greatest(2,
    max(extract(epoch FROM clock_timestamp() - o.waiting_since) / 10)
      FILTER (WHERE o.reason = 'EXIT_AWAITS_COMPARISON'))), 2) AS seconds
  FROM unnest(%s::bigint[], %s::boolean[]) AS w(order_id, lift)
  JOIN execution_order o ON o.id = w.order_id GROUP BY o.position_id
""")

# A halt stops the exit: levels that were removed for it are placed again.
RESTORE_LEVELS = restore_levels_sql(f"""
  SELECT p.id FROM execution_order o {position_join_sql("o.position_id")}
  WHERE o.id = ANY(%s) AND p.protection_suspended ORDER BY p.id FOR NO KEY UPDATE OF p
""")

# Exits wait for their own position for about a second: those waits get no line in the log.
DEFER = """
WITH deferred AS (
  SELECT o.id, t.code, t.detail, t.seconds, o.reason AS previous_code
  FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::float8[]) AS t(id, code, detail, seconds)
  JOIN execution_order o USING (id)
), moved AS (
  UPDATE execution_order o SET reason = d.code, detail = left(d.detail, 300),
    due_at = clock_timestamp() + make_interval(secs => d.seconds),
    waiting_since = CASE WHEN d.previous_code = d.code
      THEN coalesce(o.waiting_since, clock_timestamp())
      ELSE clock_timestamp() END
  FROM deferred d WHERE o.id = d.id AND o.status = 'PENDING'
  RETURNING o.id, o.signal_id, o.connection_id, d.code, d.detail, d.previous_code
)
INSERT INTO execution_executionlog (order_id, signal_id, connection_id, code, detail, status)
SELECT id, signal_id, connection_id, code, detail, 'PENDING' FROM moved
WHERE previous_code <> code AND code NOT LIKE 'EXIT_AWAITS_%%'
"""

# Make orders due whose reason to wait has ended. Orders that are being claimed are skipped.
WAKE = """
UPDATE execution_order SET due_at = clock_timestamp() WHERE id = ANY(ARRAY(
  SELECT id FROM execution_order
  WHERE connection_id = ANY(%s::uuid[]) AND status = 'PENDING' AND reason <> ''
    AND reason = ANY(%s::text[]) AND due_at > clock_timestamp()
  ORDER BY id FOR NO KEY UPDATE SKIP LOCKED))
"""

# The account answers again: look up its unknown orders now, without the rest of the back-off. A
# second look-up keeps its distance from the first, and a call in flight is not repeated.
WAKE_LOOK_UPS = """
UPDATE execution_order SET lookup_after = clock_timestamp() WHERE id = ANY(ARRAY(
  SELECT id FROM execution_order
  WHERE lookup_after > clock_timestamp() AND connection_id = ANY(%s::uuid[])
    AND absence_confirmations = 0
    AND status <> 'SUBMITTING'
  ORDER BY id FOR NO KEY UPDATE SKIP LOCKED))
"""
WAKE_CANCELS = """
UPDATE execution_order SET due_at = clock_timestamp() WHERE id = ANY(ARRAY(
  SELECT id FROM execution_order
  WHERE pending_action <> '' AND connection_id = ANY(%s::uuid[])
    AND due_at > clock_timestamp() + make_interval(secs => %s)
  ORDER BY id FOR NO KEY UPDATE SKIP LOCKED))
"""

STILL_DUE = """
SELECT id FROM execution_order
WHERE id = ANY(%s::bigint[]) AND status = 'PENDING' AND pending_action = ''
  AND due_at <= clock_timestamp()
ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
"""

ACCOUNTS_OF_HOSTS = """
SELECT id FROM connections_executionconnection
WHERE broker_host = ANY(%s::text[]) AND archived_at IS NULL
"""
