"""The questions of the audit. Each counter's statement yields `about` for every offence.

`scope` is the audited OPEN signals, `should` who was a candidate when they were published:
subscriptions by their half-open intervals, and administrators' own connections that existed then
(not those of a tenant's private feed). What was adopted from a broker has that account only.
`journal` and `held` are what brokers that show their books have shown, and what others have listed
of their accounts (`listings.py`). `shown` is those accounts, each with the time at which its read
began: what has moved since then is not judged.
"""

SCOPE = """
WITH scope AS (
  SELECT id, feed_id, published_at, valid_until, reaches_admins, origin FROM signals_signal
  WHERE action = 'OPEN' AND published_at IS NOT NULL
    AND (%(signal)s::bigint IS NULL OR id = %(signal)s::bigint)
    AND (%(since)s::timestamptz IS NULL OR published_at >= %(since)s::timestamptz)
)"""

SHOULD = f"""{SCOPE}, should AS (
  SELECT s.id AS signal_id, b.connection_id
  FROM scope s JOIN connections_subscription b ON b.feed_id = s.feed_id AND s.origin <> 'DRIFT'
  JOIN connections_subscriptioninterval i ON i.subscription_id = b.id
    AND i.started_at <= s.published_at AND (i.ended_at IS NULL OR i.ended_at > s.published_at)
  UNION
  SELECT s.id, c.id
  FROM scope s JOIN connections_executionconnection c ON c.admin_id IS NOT NULL
    AND s.reaches_admins AND c.created_at <= s.published_at
    AND (c.archived_at IS NULL OR c.archived_at > s.published_at)
  UNION
  SELECT s.id, o.connection_id FROM scope s
  JOIN execution_order o ON o.signal_id = s.id AND o.leg = 'entry' AND o.leg LIKE 'entry%%'
  WHERE s.origin = 'DRIFT'
)"""

TOTALS = f"""{SHOULD}
SELECT (SELECT count(*) FROM scope) AS signals, (SELECT count(*) FROM should) AS candidates
"""

STATES = f"""{SCOPE}
SELECT o.status, count(*) AS n FROM execution_order o JOIN scope s ON s.id = o.signal_id
WHERE o.leg = 'entry' AND o.leg LIKE 'entry%%' GROUP BY o.status
"""

# Entries by their signal's index, exits by their position's: never through the whole table.
_ORDERS = f"""{SCOPE}, orders AS (
  SELECT o.* FROM execution_order o
  WHERE o.signal_id IN (SELECT id FROM scope) AND o.leg LIKE 'entry%%'
  UNION ALL
  SELECT o.* FROM positions_executionposition p JOIN execution_order o ON o.position_id = p.id
  WHERE p.signal_id IN (SELECT id FROM scope)
)"""

# What somebody has still to work on, however old its signal is: by partial indexes.
_LIVE = f"""{_ORDERS}, live AS (
  SELECT o.* FROM (
    SELECT * FROM execution_order WHERE status = 'PENDING'
    UNION ALL SELECT * FROM execution_order WHERE status IN ('SUBMITTING', 'UNKNOWN')
    UNION ALL SELECT * FROM execution_order
      WHERE pending_action <> '' AND status NOT IN ('PENDING', 'SUBMITTING', 'UNKNOWN')
  ) o WHERE %(signal)s::bigint IS NULL OR o.id IN (SELECT id FROM orders)
  UNION ALL
  SELECT * FROM orders WHERE status <> ALL(%(known)s::text[])
)"""

# Those of the audited signals, and (unless it is one signal) all that are open.
_AND_POSITIONS = """, positions AS (
  SELECT p.* FROM positions_executionposition p WHERE p.signal_id IN (SELECT id FROM scope)
  UNION
  SELECT p.* FROM positions_executionposition p WHERE p.quantity > 0 AND %(signal)s::bigint IS NULL
)"""
_POSITIONS = f"{SCOPE}{_AND_POSITIONS}"

_JOURNAL = """, journal AS (
  SELECT *, left(client_order_id, -1) AS base FROM unnest(%(connections)s::uuid[], %(ids)s::text[],
    %(times)s::bigint[], %(executed)s::numeric[])
  AS t(connection_id, client_order_id, times, executed)
)"""

# All attempts of one order, by the index on its id.
_SAME = """o.client_order_id BETWEEN j.base || '0' AND j.base || '9'
  AND left(o.client_order_id, -1) = j.base AND o.connection_id = j.connection_id"""

_HELD = """, held AS (
  SELECT *, left(client_order_id, -1) AS base FROM unnest(%(held_connections)s::uuid[],
    %(tickets)s::text[], %(sides)s::text[], %(held_ids)s::text[])
  AS t(connection_id, ticket, side, client_order_id)
), shown AS (
  SELECT id, %(asked)s::timestamptz AS asked, false AS is_listed
  FROM connections_executionconnection WHERE type = ANY(%(kinds)s::text[])
  UNION ALL
  SELECT *, true FROM unnest(%(listed)s::uuid[], %(listed_at)s::timestamptz[])
)"""

# What a person has decided is nobody's riddle any more.
_DECIDED = """, decided AS (
  SELECT connection_id, unnest(ARRAY[key, evidence ->> 'client_order_id',
    evidence #>> '{theirs,client_order_id}', evidence #>> '{theirs,broker_position_id}']) AS about
  FROM execution_driftitem WHERE decision <> ''
)"""

# What an entry's fees took in the base currency was bought and is not there.
_FILLED = """, filled AS (
  SELECT p.id, p.quantity, p.opened_quantity,
    coalesce((SELECT sum(f.quantity - f.fee_in_base) FROM execution_order o
      JOIN execution_fill f ON f.order_id = o.id
      WHERE o.signal_id = p.signal_id AND o.connection_id = p.connection_id
        AND o.leg LIKE 'entry%%'), 0) AS entered,
    coalesce((SELECT sum(f.quantity) FROM execution_order o
      JOIN execution_fill f ON f.order_id = o.id WHERE o.position_id = p.id), 0) AS left_
  FROM positions p
)"""

COUNTERS: dict[str, str] = {
    "MISSING": f"""{SHOULD}
SELECT format('signal %%s, connection %%s', d.signal_id, d.connection_id) AS about
FROM should d WHERE NOT EXISTS (SELECT FROM execution_order o
  WHERE o.leg = 'entry' AND o.leg LIKE 'entry%%'
  AND o.signal_id = d.signal_id AND o.connection_id = d.connection_id)""",
    "EXTRA": f"""{SHOULD}
SELECT format('order %%s', o.id) AS about
FROM execution_order o JOIN scope s ON s.id = o.signal_id
WHERE o.leg = 'entry' AND o.leg LIKE 'entry%%' AND NOT EXISTS (SELECT FROM should d
  WHERE d.signal_id = o.signal_id AND d.connection_id = o.connection_id)""",
    # Each state that somebody has to end has its own clock; %(grace)s seconds late is nobody.
    "LOST": f"""{_LIVE}
SELECT format('order %%s, %%s', id, status) AS about FROM live
WHERE status <> ALL(%(terminal)s::text[]) AND status <> ALL(%(at_broker)s::text[])
  AND coalesce(CASE status WHEN 'PENDING' THEN due_at WHEN 'SUBMITTING' THEN answer_by
    WHEN 'UNKNOWN' THEN greatest(lookup_after, lookup_claimed_until) END, '-infinity')
    < clock_timestamp() - make_interval(secs => %(grace)s)
  OR pending_action <> '' AND coalesce(due_at, '-infinity')
    < clock_timestamp() - make_interval(secs => %(grace)s)""",
    "DUP": f"""{_ORDERS}{_JOURNAL}
SELECT CASE WHEN j.times > 1 THEN format('order %%s, accepted %%s times', o.id, j.times)
  ELSE format('order %%s, executed %%s of %%s', o.id, trim_scale(j.executed),
    trim_scale(o.quantity)) END AS about
FROM (SELECT connection_id, base, sum(times) AS times, sum(executed) AS executed FROM journal
  GROUP BY connection_id, base) j
JOIN execution_order o ON {_SAME}
WHERE (j.times > 1 OR j.executed > o.quantity)
  AND (%(signal)s::bigint IS NULL OR o.id IN (SELECT id FROM orders))""",
    # A position whose order is on its way, or has just moved, says nothing.
    "ORPHAN": f"""{_ORDERS}{_JOURNAL}{_HELD}{_DECIDED}
SELECT format('%%s on connection %%s', j.client_order_id, j.connection_id) AS about FROM journal j
WHERE %(signal)s::bigint IS NULL AND NOT EXISTS (SELECT FROM execution_order o WHERE {_SAME})
  AND NOT EXISTS (SELECT FROM decided d
    WHERE d.connection_id = j.connection_id AND d.about = j.client_order_id)
UNION ALL
SELECT format('position %%s on connection %%s', j.ticket, j.connection_id)
FROM held j JOIN shown c ON c.id = j.connection_id
WHERE %(signal)s::bigint IS NULL AND j.client_order_id <> ''
  AND NOT EXISTS (SELECT FROM positions_executionposition p
    WHERE p.connection_id = j.connection_id AND p.broker_position_id = j.ticket
      AND (p.quantity > 0 OR p.last_activity_at >= c.asked))
  AND NOT EXISTS (SELECT FROM execution_order o WHERE {_SAME}
    AND (o.done_at IS NULL OR o.done_at >= c.asked))
  AND NOT EXISTS (SELECT FROM decided d
    WHERE d.connection_id = j.connection_id AND d.about IN (j.ticket, j.client_order_id))""",
    # Positions that moved since the books were asked for, or are being closed, say nothing. Brokers
    # that list state an execution before its report has come: any working exit may have closed it.
    "GHOST": f"""{_POSITIONS}{_HELD}
SELECT format('position %%s', p.id) AS about FROM positions p JOIN shown c ON c.id = p.connection_id
WHERE p.quantity > 0 AND p.last_activity_at < c.asked AND NOT EXISTS (SELECT FROM held h
  WHERE h.connection_id = p.connection_id AND (h.ticket = p.broker_position_id
    OR p.broker_position_id = '' AND h.base <> '' AND EXISTS (SELECT FROM execution_order e
      WHERE e.signal_id = p.signal_id AND e.connection_id = p.connection_id
        AND e.leg LIKE 'entry%%' AND left(e.client_order_id, -1) = h.base)))
AND NOT EXISTS (SELECT FROM execution_order x WHERE x.position_id = p.id
  AND (x.status IN ('SUBMITTING', 'UNKNOWN') OR c.is_listed
    AND x.status IN ('SUBMITTED', 'PARTIALLY_FILLED', 'CANCEL_REQUESTED')))""",
    "LIMBO": f"""{_LIVE}
SELECT format('order %%s', id) AS about FROM live WHERE status = 'UNKNOWN'
  AND answer_by < clock_timestamp() - make_interval(secs => %(proof)s + %(grace)s)""",
    # acknowledged: it did reach the broker. submitted_at is machine time, valid_until the market's.
    "LATE": f"""{_ORDERS}
SELECT format('order %%s', o.id) AS about FROM orders o JOIN scope s ON s.id = o.signal_id
WHERE o.position_id IS NULL AND o.acknowledged_at IS NOT NULL AND s.valid_until IS NOT NULL
  AND %(start)s::timestamptz + (o.submitted_at - %(anchor)s::timestamptz) * %(speed)s::float8
    > s.valid_until""",
    "MISMATCH": f"""{_ORDERS}{_AND_POSITIONS}{_FILLED}
SELECT format('position %%s', id) AS about FROM filled
WHERE quantity <> entered - left_ OR opened_quantity <> entered
UNION ALL
SELECT format('order %%s', o.id) FROM orders o WHERE o.filled_quantity
  <> coalesce((SELECT sum(f.quantity) FROM execution_fill f WHERE f.order_id = o.id), 0)""",
    # Where a netting broker lists one position for a symbol, a closed one of ours says nothing.
    "REVERSED": f"""{_POSITIONS}{_FILLED}{_HELD}{_DECIDED}
SELECT format('position %%s', id) AS about FROM filled WHERE left_ > entered
UNION
SELECT format('position %%s', p.id) FROM positions p
JOIN held h ON h.connection_id = p.connection_id AND h.ticket = p.broker_position_id
JOIN shown c ON c.id = p.connection_id
WHERE h.side <> p.side AND (NOT c.is_listed OR p.quantity > 0 AND p.last_activity_at < c.asked
  AND NOT EXISTS (SELECT FROM decided d
    WHERE d.connection_id = p.connection_id AND d.about = h.ticket))""",
    # Accepted under an attempt that had been given up: only an absence or a refusal gives one up.
    "RISEN": f"""{_ORDERS}{_JOURNAL}
SELECT DISTINCT format('order %%s', o.id) AS about
FROM journal j JOIN execution_order o ON {_SAME}
CROSS JOIN LATERAL (
  SELECT max(l.id) FILTER (WHERE l.code = 'NEVER_ARRIVED') AS last,
    max(l.id) FILTER (WHERE l.code = 'OPERATOR_RETRY') AS retried
  FROM execution_executionlog l WHERE l.order_id = o.id
) a
WHERE a.last IS NOT NULL AND (%(signal)s::bigint IS NULL OR o.id IN (SELECT id FROM orders))
  AND (right(j.client_order_id, 1)::int < o.attempt
    OR a.last > coalesce(a.retried, 0) AND right(j.client_order_id, 1)::int = o.attempt)""",
    "NAKED": f"""{_POSITIONS}
SELECT format('position %%s, for %%s s', id,
  extract(epoch FROM clock_timestamp() - coalesce(unprotected_since,
  last_activity_at))::int) AS about
FROM positions WHERE quantity > 0 AND (unprotected_since IS NOT NULL OR sl IS NOT NULL
    AND (sl_guardian = '' OR sl_guardian = 'BROKER' AND broker_sl IS NULL))
  AND coalesce(unprotected_since, last_activity_at)
    < clock_timestamp() - make_interval(secs => %(naked)s)""",
}
