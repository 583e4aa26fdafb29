"""The questions of the audit. Each counter's statement yields `about` for every offence.

`scope` is the audited OPEN signals, `should` who was a candidate when they were published:
subscriptions by their half-open intervals, and administrators' own connections that existed then
(not those of a tenant's private feed). What was adopted from a broker has that account only.
`journal` and `held` are what brokers that show their books have shown.
"""

SCOPE = """
WITH scope AS (
  SELECT id, feed_id, published_at, valid_until, reaches_admins, door FROM signals_signal
  WHERE action = 'OPEN' AND published_at IS NOT NULL
    AND (%(signal)s::bigint IS NULL OR id = %(signal)s::bigint)
    AND (%(since)s::timestamptz IS NULL OR published_at >= %(since)s::timestamptz)
)"""

SHOULD = f"""{SCOPE}, should AS (
  SELECT s.id AS signal_id, b.connection_id
  FROM scope s JOIN connections_subscription b ON b.feed_id = s.feed_id AND s.door <> 'DRIFT'
  JOIN connections_subscriptioninterval i ON i.subscription_id = b.id
    AND i.started_at <= s.published_at AND (i.ended_at IS NULL OR i.ended_at > s.published_at)
  UNION
  SELECT s.id, c.id
  FROM scope s JOIN connections_executionconnection c ON c.admin_id IS NOT NULL
    AND s.reaches_admins AND c.created_at <= s.published_at
    AND (c.archived_at IS NULL OR c.archived_at > s.published_at)
  UNION
  SELECT s.id, o.connection_id FROM scope s
  JOIN execution_order o ON o.signal_id = s.id AND o.leg = 'entry' WHERE s.door = 'DRIFT'
)"""

TOTALS = f"""{SHOULD}
SELECT (SELECT count(*) FROM scope) AS signals, (SELECT count(*) FROM should) AS candidates
"""

STATES = f"""{SCOPE}
SELECT o.status, count(*) AS n FROM execution_order o JOIN scope s ON s.id = o.signal_id
WHERE o.leg = 'entry' GROUP BY o.status
"""

_ORDERS = f"""{SCOPE}, orders AS (
  SELECT o.* FROM execution_order o
  LEFT JOIN positions_executionposition p ON p.id = o.position_id
  WHERE coalesce(p.signal_id, o.signal_id) IN (SELECT id FROM scope)
)"""

_POSITIONS = f"""{SCOPE}, positions AS (
  SELECT p.* FROM positions_executionposition p WHERE p.signal_id IN (SELECT id FROM scope)
)"""

_JOURNAL = """, journal AS (
  SELECT * FROM unnest(%(connections)s::uuid[], %(ids)s::text[], %(times)s::bigint[],
    %(firsts)s::timestamptz[]) AS t(connection_id, client_order_id, times, first_at)
)"""

_HELD = """, held AS (
  SELECT * FROM unnest(%(held_connections)s::uuid[], %(tickets)s::text[], %(sides)s::text[])
  AS t(connection_id, ticket, side)
), shown AS (SELECT id FROM connections_executionconnection WHERE type = ANY(%(kinds)s::text[])
)"""

_FILLED = """, filled AS (
  SELECT p.id, p.quantity, p.opened_quantity,
    coalesce((SELECT sum(f.quantity) FROM execution_order o
      JOIN execution_fill f ON f.order_id = o.id
      WHERE o.signal_id = p.signal_id AND o.connection_id = p.connection_id
        AND o.position_id IS NULL), 0) AS entered,
    coalesce((SELECT sum(f.quantity) FROM execution_order o
      JOIN execution_fill f ON f.order_id = o.id WHERE o.position_id = p.id), 0) AS left_
  FROM positions p
)"""

COUNTERS: dict[str, str] = {
    "MISSING": f"""{SHOULD}
SELECT format('signal %%s, connection %%s', d.signal_id, d.connection_id) AS about
FROM should d WHERE NOT EXISTS (SELECT FROM execution_order o WHERE o.leg = 'entry'
  AND o.signal_id = d.signal_id AND o.connection_id = d.connection_id)""",
    "EXTRA": f"""{SHOULD}
SELECT format('order %%s', o.id) AS about
FROM execution_order o JOIN scope s ON s.id = o.signal_id
WHERE o.leg = 'entry' AND NOT EXISTS (SELECT FROM should d
  WHERE d.signal_id = o.signal_id AND d.connection_id = o.connection_id)""",
    # Each state that somebody has to end has its own clock; %(grace)s seconds late is nobody.
    "LOST": f"""{_ORDERS}
SELECT format('order %%s, %%s', id, status) AS about FROM orders
WHERE status <> ALL(%(terminal)s::text[]) AND status <> ALL(%(at_broker)s::text[])
  AND coalesce(CASE status WHEN 'PENDING' THEN due_at WHEN 'SUBMITTING' THEN answer_by
    WHEN 'UNKNOWN' THEN lookup_after END, '-infinity')
    < clock_timestamp() - make_interval(secs => %(grace)s)
  OR wish <> '' AND coalesce(due_at, '-infinity')
    < clock_timestamp() - make_interval(secs => %(grace)s)""",
    "DUP": f"""{_ORDERS}{_JOURNAL}
SELECT format('order %%s, accepted %%s times', o.id, sum(j.times)) AS about
FROM journal j JOIN orders o ON left(o.client_order_id, -1) = left(j.client_order_id, -1)
  AND o.connection_id = j.connection_id
GROUP BY o.id HAVING sum(j.times) > 1""",
    "ORPHAN": f"""{_ORDERS}{_JOURNAL}
SELECT format('%%s on connection %%s', j.client_order_id, j.connection_id) AS about FROM journal j
WHERE %(signal)s::bigint IS NULL AND NOT EXISTS (SELECT FROM execution_order o
  WHERE o.connection_id = j.connection_id
    AND left(o.client_order_id, -1) = left(j.client_order_id, -1))""",
    # Positions that moved since the books were asked for, or are being closed, say nothing.
    "GHOST": f"""{_POSITIONS}{_HELD}
SELECT format('position %%s', p.id) AS about FROM positions p JOIN shown c ON c.id = p.connection_id
WHERE p.quantity > 0 AND p.touched_at < %(asked)s AND NOT EXISTS (SELECT FROM held h
  WHERE h.connection_id = p.connection_id AND h.ticket = p.broker_position_id)
AND NOT EXISTS (SELECT FROM execution_order x WHERE x.position_id = p.id
  AND x.status IN ('SUBMITTING', 'UNKNOWN'))""",
    "LIMBO": f"""{_ORDERS}
SELECT format('order %%s', id) AS about FROM orders WHERE status = 'UNKNOWN'
  AND answer_by < clock_timestamp() - make_interval(secs => %(proof)s + %(grace)s)""",
    # acknowledged: it did reach the broker. submitted_at is machine time, valid_until the market's.
    "LATE": f"""{_ORDERS}
SELECT format('order %%s', o.id) AS about FROM orders o JOIN scope s ON s.id = o.signal_id
WHERE o.position_id IS NULL AND o.acknowledged_at IS NOT NULL AND s.valid_until IS NOT NULL
  AND %(start)s::timestamptz + (o.submitted_at - %(anchor)s::timestamptz) * %(speed)s::float8
    > s.valid_until""",
    "MISMATCH": f"""{_POSITIONS}{_FILLED}
SELECT format('position %%s', id) AS about FROM filled
WHERE quantity <> entered - left_ OR opened_quantity <> entered
UNION ALL
SELECT format('order %%s', o.id) FROM execution_order o
LEFT JOIN positions_executionposition p ON p.id = o.position_id
WHERE coalesce(p.signal_id, o.signal_id) IN (SELECT id FROM scope) AND o.filled_quantity
  <> coalesce((SELECT sum(f.quantity) FROM execution_fill f WHERE f.order_id = o.id), 0)""",
    "REVERSED": f"""{_POSITIONS}{_FILLED}{_HELD}
SELECT format('position %%s', id) AS about FROM filled WHERE left_ > entered
UNION
SELECT format('position %%s', p.id) FROM positions p
JOIN held h ON h.connection_id = p.connection_id AND h.ticket = p.broker_position_id
WHERE h.side <> p.side""",
    # Accepted under an attempt that had been given up: only an absence or a refusal gives one up.
    "RISEN": f"""{_ORDERS}{_JOURNAL}, absent AS (
  SELECT l.order_id, max(l.id) FILTER (WHERE l.code = 'NEVER_ARRIVED') AS last,
    max(l.id) FILTER (WHERE l.code = 'OPERATOR_RETRY') AS retried
  FROM execution_executionlog l
  WHERE l.code IN ('NEVER_ARRIVED', 'OPERATOR_RETRY') AND l.order_id IN (SELECT id FROM orders)
  GROUP BY l.order_id HAVING bool_or(l.code = 'NEVER_ARRIVED')
)
SELECT format('order %%s', o.id) AS about FROM absent a JOIN orders o ON o.id = a.order_id
WHERE EXISTS (SELECT FROM journal j WHERE j.connection_id = o.connection_id
  AND left(j.client_order_id, -1) = left(o.client_order_id, -1)
  AND (right(j.client_order_id, 1)::int < o.attempt
    OR a.last > coalesce(a.retried, 0) AND right(j.client_order_id, 1)::int = o.attempt))""",
    "NAKED": f"""{_POSITIONS}
SELECT format('position %%s, for %%s s', id,
  extract(epoch FROM clock_timestamp() - touched_at)::int) AS about
FROM positions WHERE quantity > 0 AND sl IS NOT NULL
  AND (sl_guardian = '' OR (sl_guardian = 'BROKER' AND broker_sl IS NULL))
  AND touched_at < clock_timestamp() - make_interval(secs => %(naked)s)""",
}
