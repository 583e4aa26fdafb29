"""The statements of the claim; `claim.py` describes their order."""

from common.db.sql import Query
from connections.entry_limits import ENTRY_LIMITS, EntryLimit
from connections.selectors import (
    ENTRY_SUBSCRIPTION_JOIN_SQL,
    ENTRY_SYMBOL_MAP_SQL,
    SPEC_COLUMNS,
    SUBSCRIPTION_CODE_SQL,
    TICK_SQL,
    account_join_sql,
    connection_join_sql,
    has_doubted_facts_sql,
    has_old_facts_sql,
    pause_join_sql,
    terms_join_sql,
)
from execution.base.statements import LIVE_SQL, is_partly_known_sql, opening_entry_ids_join_sql
from execution.submission.rows import (
    ExitRow,
    ExposureRow,
    InstrumentRow,
    LoadedOrder,
    QuoteRow,
    SideRow,
    SignalRow,
    SourceRow,
    TermsRow,
    WaitingRow,
)
from execution.submission.slicing import ENDS_PLAN_SQL
from positions.joins import is_further_ticket_sql, position_join_sql, trade_sql
from signals import effective_levels
from signals.joins import FEED_JOIN_SQL

# A CASE, because for a plain comparison the planner would scan the index of the whole backlog.
IS_PENDING = "CASE o.status WHEN 'PENDING' THEN true END"

LOCK = f"""
SELECT connection_id::text FROM connections_connectionlock WHERE connection_id IN (
  SELECT o.connection_id FROM execution_order o
  WHERE o.id = ANY(%s::bigint[]) AND {IS_PENDING})
ORDER BY connection_id FOR NO KEY UPDATE {{skip}}
"""

# A claim writes its orders by several statements: all are locked before, as a CLOSE or MODIFY that
# is published locks them.
LOCK_ORDERS = """
SELECT id FROM execution_order WHERE id = ANY(%s::bigint[]) ORDER BY id FOR NO KEY UPDATE
"""


def _own_value(limit: EntryLimit) -> str:
    """Return SQL of what the subscription `b` sets; NULL: nothing. A unit alone is no limit."""
    empty = {bool: "false", str: f"b.{limit.name}"}.get(limit.type)
    empty = "'{}'" if limit.item_length else empty
    return f"nullif(b.{limit.name}, {empty})" if empty else f"b.{limit.name}"


_SETS_A_LIMIT = f"num_nonnulls({', '.join(map(_own_value, ENTRY_LIMITS.values()))}) > 0"
# Of the preset's and the subscription's limits the tighter one, or the preset's where both count.
_LIMITS = ", ".join(
    f"{limit.tighter.value.format(preset=f't.{name}', own=f'b.{name}')} AS {name}"
    for name, limit in ENTRY_LIMITS.items()
)


# What the evaluation of an order needs, besides TERMS and what `load_evaluation_context` reads.
# Aliases: o is the order, s its signal (in a preview: the draft's fields).
ORDER_COLUMNS = f"""o.id, o.status, o.connection_id::text, o.position_id, o.signal_id, o.leg,
  o.pair, o.symbol, o.side, o.order_type, o.time_in_force, o.quantity,
  o.requested_quantity, o.own_stop_loss, o.own_take_profit, o.own_valid_until,
  o.limit_price, o.stop_price,
  o.attempt, o.send_retries, o.reason,
  o.route_state, o.retried_at, o.priority, o.client_order_id,
  o.due_at <= clock_timestamp() AND o.pending_action = '' AS is_due,
  extract(epoch FROM clock_timestamp() - o.created_at)::float8 AS age, {SPEC_COLUMNS},
  c.instrument_book,
  c.data_connection_id, c.is_active, c.is_paused, c.broker_host, c.lane,
  c.aggregation_ms, a.currency, a.balance, a.equity, a.free_margin, a.leverage, a.position_mode,
  extract(epoch FROM clock_timestamp() - a.read_at)::int AS account_age,
  coalesce(b.multiplier, 1) AS subscription_multiplier,
  {ENTRY_SYMBOL_MAP_SQL} AS symbol_map,
  s.currency_pair AS signal_pair,
  o.oco_group IS NOT NULL AND NOT o.oco_fired AS is_held_leg,
  o.oco_group IS NOT NULL AND NOT o.oco_fired AND coalesce((SELECT x.oco_fired
    FROM execution_order x WHERE x.connection_id = o.connection_id AND x.oco_group = o.oco_group
      AND x.oco_fired), false) AS other_leg_fired, o.oco_fired,
  o.awaits_condition, o.has_exit_condition,
  pause.pause_code, pause.pause_value, pause.pause_maximum, pause.pause_detail,
  pause.pause_name, pause.pause_unit, {SUBSCRIPTION_CODE_SQL} AS subscription_code,
  b.expires_at AS subscription_expires_at, c.preset_id,
  CASE WHEN {_SETS_A_LIMIT} THEN b.id END AS limiting_subscription_id"""
# A later slice, and its market time. `slicing.slice_number` reads the same number.
IS_LATER_SLICE = "o.leg LIKE 'entry-%%'"
SLICE_PLANNED_AT = """(
    SELECT coalesce(d.starts_at + make_interval(secs => d.offsets[substr(o.leg, 7)::int]),
      d.ends_at)
    FROM execution_order f JOIN execution_sliceplan d ON d.order_id = f.id
    WHERE f.signal_id = o.signal_id AND f.connection_id = o.connection_id AND f.leg = 'entry'
      AND f.leg LIKE 'entry%%')"""
ACCOUNT_JOINS = f"""{connection_join_sql("o.connection_id")}
{account_join_sql()}
{ENTRY_SUBSCRIPTION_JOIN_SQL}
{pause_join_sql(is_planned=IS_LATER_SLICE, planned_at=SLICE_PLANNED_AT)}"""

# Status is filtered in Python.
LOAD = Query(
    LoadedOrder,
    f"""
SELECT {ORDER_COLUMNS}
FROM execution_order o LEFT JOIN signals_signal s ON s.id = o.signal_id
{ACCOUNT_JOINS}
WHERE o.id = ANY(%s::bigint[]) ORDER BY o.priority, o.id
""",
)

# What presets set, and subscriptions with limits of their own: read once for all orders of a bundle
# that have the same two (`order_loading.with_terms`).
TERMS = Query(
    TermsRow,
    f"""
SELECT wanted.preset_id, wanted.limiting_subscription_id,
  t.sizing_mode, t.fixed_quantity, t.percent_of_balance, t.fixed_amount, t.risk_percent,
  t.percent_of_equity, t.risk_amount, t.per_balance, t.small_risk_percent, t.normal_risk_percent,
  t.large_risk_percent, t.allow_minimum_quantity,
  t.multiplier, t.small_multiplier, t.normal_multiplier, t.large_multiplier,
  b.max_slippage_pips AS own_max_slippage, b.slippage_unit AS own_slippage_unit,
  b.max_spread AS own_max_spread, b.max_spread_unit AS own_max_spread_unit,
  b.allowed_symbols AS own_allowed_symbols, b.trading_sessions AS own_trading_sessions,
  t.trading_day_zone, t.trading_day_start, t.max_signal_age_seconds, t.broker_holds_stops,
  t.decision_provider_id, {_LIMITS}
FROM unnest(%s::bigint[], %s::bigint[]) AS wanted(preset_id, limiting_subscription_id)
{terms_join_sql("wanted.preset_id", "wanted.limiting_subscription_id")}
""",
)


FACTS_SECONDS = 10  # for which an exit that was refused waits for what its broker lists now
RENEWED_SECONDS = 60  # a minimum that was read before refuses no exit; it is read again first

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
    AND (x.status IN {LIVE_SQL}
      OR x.status = 'PENDING' AND x.id < o.id)) AS has_exit_ahead,
  EXISTS (SELECT FROM positions_executionposition n WHERE n.connection_id = p.connection_id
    AND n.quantity > 0 AND n.id <> p.id AND n.symbol = p.symbol
    AND n.broker_position_id = p.broker_position_id)
  OR a.position_mode IS DISTINCT FROM 'HEDGING' AND EXISTS (
    SELECT FROM execution_order x WHERE x.connection_id = p.connection_id
    AND x.position_id IS NULL AND x.symbol = p.symbol AND x.signal_id <> p.signal_id
    AND x.status IN {LIVE_SQL})
  OR a.position_mode IS DISTINCT FROM 'HEDGING' AND EXISTS (
    SELECT FROM execution_order x WHERE x.connection_id = p.connection_id
    AND x.position_id IS NULL AND x.symbol = p.symbol AND x.signal_id <> p.signal_id
    AND {is_partly_known_sql("x")})
    AS shares_broker_position,
  e.client_order_id AS entry_client_order_id, e.sent_as AS entry_sent_as,
  p.quantity - coalesce((
    SELECT sum(x.quantity - x.filled_quantity) FROM execution_order x
    WHERE x.position_id = p.id AND x.id <> o.id
      AND (x.status IN {LIVE_SQL} OR x.status = 'PENDING' AND x.id < o.id)), 0) AS closable,
  {has_doubted_facts_sql("p.connection_id", FACTS_SECONDS)} AS has_doubted_facts,
  {has_old_facts_sql("p.connection_id", RENEWED_SECONDS)} AS has_old_facts
FROM execution_order o {position_join_sql("o.position_id")}
{account_join_sql("p.connection_id")}
{opening_entry_ids_join_sql("p")}
LEFT JOIN execution_accountsyncstate r ON r.connection_id = p.connection_id
WHERE o.id = ANY(%s)
""",
)

SIGNALS = Query(
    SignalRow,
    f"""
SELECT s.id, s.feed_id, s.direction, s.order_type, s.open_price, s.trail_distance,
  s.trail_pips, s.trail_percent, s.activation_price, s.published_at, s.valid_until,
  s.max_slippage_pips, s.max_slippage_unit, s.max_spread, s.max_spread_unit, s.risk_category,
  s.provider_quantity, s.provider_equity, s.provider_currency, s.cancelled_at,
  f.max_signal_notional, f.max_signal_currency,
  {effective_levels.SL} AS sl, {effective_levels.TARGET_PRICES} AS target_prices,
  {effective_levels.TARGET_FRACTIONS} AS target_fractions,
  EXISTS (SELECT FROM signals_signal f WHERE f.refers_to_id = s.id AND f.action = 'CLOSE'
    AND f.close_fraction = 1 AND f.published_at IS NOT NULL) AS is_closed,
  s.execution_style, s.duration_seconds, s.slice_count, s.slice_variation,
  {effective_levels.PRICE_LIMIT} AS price_limit,
  s.catch_up, s.at_end, s.trail_atr, s.trail_atr_minutes, s.trade_plan_id
FROM signals_signal s {FEED_JOIN_SQL} {effective_levels.JOIN}
WHERE s.id = ANY(%s)
""",
)

INSTRUMENTS = Query(
    InstrumentRow,
    f"""
SELECT book, pair, symbol, is_preferred, rivals, digits, pip, quantity_min, quantity_step,
  quantity_max, stops_level, margin_rate, close_min, close_worth_min, {TICK_SQL} AS tick,
  hours, price_steps
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

# Of an entry that may still fill: whether that makes a position, and what the rest of it adds.
_NEW_POSITION = "CASE WHEN filled_quantity > 0 OR leg <> 'entry' THEN 0 ELSE 1 END"
_UNFILLED_NOTIONAL = (
    "(quantity - filled_quantity) * coalesce(expected_price, 0) * coalesce(conversion_rate, 0)"
)
_UNFILLED_MARGIN = "coalesce(margin, 0) * (quantity - filled_quantity) / quantity"
_UNFILLED_RISK = "coalesce(risk, 0) * (quantity - filled_quantity) / quantity"

# pairs: those with a row of their own; an account's other pairs share one.
EXPOSURE = Query(
    ExposureRow,
    f"""
SELECT connection_id::text,
  CASE WHEN pair = ANY(%(pairs)s::text[]) THEN pair ELSE '' END AS pair,
  sum(n)::int AS positions, sum(orders)::int AS orders, sum(notional) AS notional,
  sum(margin) AS margin, sum(risk) AS risk, bool_or(unanswered) AS unanswered
FROM (
  SELECT p.connection_id, p.pair, CASE WHEN {is_further_ticket_sql()} THEN 0 ELSE 1 END AS n,
    0 AS orders,
    p.quantity * p.entry_price * p.conversion_rate AS notional,
    0 AS margin, false AS unanswered,
    CASE WHEN p.sl IS NULL
      THEN p.quantity * p.entry_price * p.conversion_rate / greatest(coalesce(a.leverage, 1), 1)
      ELSE greatest((p.entry_price - p.sl) * CASE p.side WHEN 'BUY' THEN 1 ELSE -1 END, 0)
        * p.quantity * p.conversion_rate END AS risk
  FROM positions_executionposition p
  {account_join_sql("p.connection_id")}
  WHERE p.connection_id = ANY(%(connections)s::uuid[]) AND p.quantity > 0
  UNION ALL
  SELECT connection_id, pair,
    {_NEW_POSITION}, 1, {_UNFILLED_NOTIONAL}, {_UNFILLED_MARGIN},
    status = 'SUBMITTING' AND answer_by > clock_timestamp()
      AND submitted_at < clock_timestamp() - make_interval(secs => %(unanswered)s),
    {_UNFILLED_RISK}
  FROM execution_order
  WHERE connection_id = ANY(%(connections)s::uuid[]) AND position_id IS NULL
    AND status IN {LIVE_SQL}
  UNION ALL  -- what its broker executed is still looked up
  SELECT connection_id, pair,
    {_NEW_POSITION}, 0, {_UNFILLED_NOTIONAL}, {_UNFILLED_MARGIN}, false, {_UNFILLED_RISK}
  FROM execution_order o
  WHERE connection_id = ANY(%(connections)s::uuid[]) AND position_id IS NULL
    AND {is_partly_known_sql("o")} AND quantity > filled_quantity
  UNION ALL  -- slices that are planned and not sent; by the index `order_waiting`
  SELECT connection_id, pair, 0, 0, quantity * expected_price * conversion_rate, margin, false, risk
  FROM execution_order
  WHERE connection_id = ANY(%(connections)s::uuid[]) AND status = 'PENDING' AND reason <> ''
    AND leg LIKE 'entry-%%' AND quantity IS NOT NULL
) exposure GROUP BY connection_id, 2
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

# A plan that sends no more slices: its trade is closed, or one of its orders `o` has ended it.
_PLAN_IS_OVER = f"""(coalesce(({trade_sql("s", "max(p.quantity)")}) <= 0, false)
  OR EXISTS (SELECT FROM execution_order o
    WHERE o.signal_id = s.signal_id AND o.connection_id = s.connection_id AND o.leg LIKE 'entry%%'
      AND {ENDS_PLAN_SQL}))"""

# On a netting account an opposite entry would close what another signal opened, or what its slices
# will open. is_closing: exits for all of it are live, so an opposite entry only has to wait; a plan
# is over when its trade is closed.
OPEN_SIDES = Query(
    SideRow,
    f"""
SELECT connection_id::text, pair, side, quantity <= reserved AS is_closing
FROM positions_executionposition
WHERE connection_id = ANY(%(connections)s::uuid[]) AND quantity > 0
UNION
SELECT connection_id::text, pair, side, pending_action = 'CLOSE' FROM execution_order
WHERE connection_id = ANY(%(connections)s::uuid[]) AND position_id IS NULL
  AND status IN {LIVE_SQL}
UNION  -- what its broker executed is still looked up
SELECT connection_id::text, pair, side, false FROM execution_order o
WHERE connection_id = ANY(%(connections)s::uuid[]) AND position_id IS NULL
  AND {is_partly_known_sql("o")}
UNION  -- slices that are planned and not sent; by the index `order_waiting`
SELECT s.connection_id::text, s.pair, s.side,
  coalesce(({trade_sql("s", "max(p.quantity - p.reserved)")}) <= 0, false) FROM (
  SELECT DISTINCT connection_id, signal_id, pair, side FROM execution_order
  WHERE connection_id = ANY(%(netting)s::uuid[]) AND status = 'PENDING' AND reason <> ''
    AND leg LIKE 'entry-%%') s
WHERE NOT {_PLAN_IS_OVER}
""",
)
