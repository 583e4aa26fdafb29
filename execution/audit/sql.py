"""Statements of the audit. Each counter's statement returns one row `about` for each finding.

CTEs:
- `scope`: the audited OPEN signals.
- `candidates`: the connections that were candidates at publication: subscriptions by their
  half-open intervals, and operators' own connections that existed then (not for a tenant's private
  feed). An adopted trade has its own account only.
- `journal`, `held`: accepted orders and positions, from brokers' books and from listings
  (`listings.py`).
- `accounts_read`: the accounts of these books and listings, with the time at which the read began.
  Rows with activity since then are not judged.

Entries in the archive count like those in the table (docs/adr/0054).
"""

from typing import NamedTuple

from common.db.sql import Query
from execution.base.statements import ALL_PENDING_SQL, sent_as_sql
from execution.exits.partial_closes import IS_DUE_SQL
from positions.joins import entry_position_join_sql


class Totals(NamedTuple):
    """How many signals and candidates an audit covers."""

    signals: int
    candidates: int


class StatusCount(NamedTuple):
    """How many entries have a status."""

    status: str
    number: int


SCOPE = """
WITH scope AS (
  SELECT id, feed_id, published_at, valid_until, reaches_admins, origin FROM signals_signal
  WHERE action = 'OPEN' AND published_at IS NOT NULL
    AND (%(signal)s::bigint IS NULL OR id = %(signal)s::bigint)
    AND (%(since)s::timestamptz IS NULL OR published_at >= %(since)s::timestamptz)
)"""

CANDIDATES = f"""{SCOPE}, candidates AS (
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
  UNION
  SELECT s.id, a.connection_id FROM scope s JOIN execution_archivedorder a ON a.signal_id = s.id
  WHERE s.origin = 'DRIFT'
)"""

TOTALS = Query(
    Totals,
    f"""{CANDIDATES}
SELECT (SELECT count(*) FROM scope) AS signals,
  (SELECT count(*) FROM candidates) AS candidates
""",
)

STATES = Query(
    StatusCount,
    f"""{SCOPE}
SELECT status, sum(number)::bigint AS number FROM (
  SELECT o.status, count(*) AS number FROM execution_order o JOIN scope s ON s.id = o.signal_id
  WHERE o.leg = 'entry' AND o.leg LIKE 'entry%%' AND o.route_state <> 'MOVED' GROUP BY o.status
  UNION ALL
  SELECT a.status, count(*) FROM execution_archivedorder a JOIN scope s ON s.id = a.signal_id
  WHERE a.route_state <> 'MOVED' GROUP BY a.status
) x GROUP BY status
""",
)

# Entries by the index on their signal, exits by that on their position, never by a full scan.
_ORDERS = f"""{SCOPE}, orders AS (
  SELECT o.* FROM execution_order o
  WHERE o.signal_id IN (SELECT id FROM scope) AND o.leg LIKE 'entry%%'
  UNION ALL
  SELECT o.* FROM positions_executionposition p JOIN execution_order o ON o.position_id = p.id
  WHERE p.signal_id IN (SELECT id FROM scope)
)"""

# Orders that a process must still work on, however old their signal is; by partial indexes.
_LIVE = f"""{_ORDERS}, live AS (
  SELECT o.* FROM (
    SELECT * FROM execution_order WHERE {ALL_PENDING_SQL}
    UNION ALL SELECT * FROM execution_order WHERE status IN ('SUBMITTING', 'UNKNOWN')
    UNION ALL SELECT * FROM execution_order
      WHERE pending_action <> '' AND status NOT IN ('PENDING', 'SUBMITTING', 'UNKNOWN')
  ) o WHERE %(signal)s::bigint IS NULL OR o.id IN (SELECT id FROM orders)
  UNION ALL
  SELECT * FROM orders WHERE status <> ALL(%(known)s::text[])
)"""

# Positions of the audited signals and, unless it is a single signal, all open ones.
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

# All orders that a broker may name; those in the archive never filled. Without a WHERE, so that the
# planner uses the index on the id of each table.
_NAMED = """(
  SELECT id, connection_id, client_order_id, quantity, attempt, aggregate_id FROM execution_order
  UNION ALL
  SELECT id, connection_id, client_order_id, quantity, right(client_order_id, 1)::smallint, NULL
  FROM execution_archivedorder
) o"""

# Whether an order `o` is audited: of all signals, or of one.
_IS_AUDITED = """(%(signal)s::bigint IS NULL OR o.id IN (SELECT id FROM orders)
  OR o.id IN (SELECT a.id FROM execution_archivedorder a WHERE a.signal_id = %(signal)s::bigint))"""

# All attempts of one order, by the index on its id.
_SAME = """o.client_order_id BETWEEN j.base || '0' AND j.base || '9'
  AND left(o.client_order_id, -1) = j.base AND o.connection_id = j.connection_id"""

_HELD = """, held AS (
  SELECT *, left(client_order_id, -1) AS base FROM unnest(%(held_connections)s::uuid[],
    %(tickets)s::text[], %(sides)s::text[], %(held_ids)s::text[])
  AS t(connection_id, ticket, side, client_order_id)
), accounts_read AS (
  SELECT id, %(books_read_at)s::timestamptz AS read_at, false AS is_listed
  FROM connections_executionconnection WHERE type = ANY(%(broker_types)s::text[])
  UNION ALL
  SELECT *, true FROM unnest(%(listed)s::uuid[], %(listed_at)s::timestamptz[])
)"""

# What a person has decided is not counted.
_DECIDED = """, decided AS (
  SELECT connection_id, unnest(ARRAY[key, evidence ->> 'client_order_id',
    evidence #>> '{theirs,client_order_id}', evidence #>> '{theirs,broker_position_id}']) AS about
  FROM execution_driftitem WHERE decision <> ''
)"""

# Fees in the base currency reduce the quantity entered.
_FILLED = """, filled AS (
  SELECT p.id, p.quantity, p.opened_quantity,
    coalesce((SELECT sum(f.quantity - f.fee_in_base) FROM execution_order o
      JOIN execution_fill f ON f.order_id = o.id
      WHERE o.signal_id = p.signal_id AND o.connection_id = p.connection_id
        AND o.position_leg = p.entry_leg AND o.leg LIKE 'entry%%'), 0) AS entered,
    coalesce((SELECT sum(f.quantity) FROM execution_order o
      JOIN execution_fill f ON f.order_id = o.id WHERE o.position_id = p.id), 0) AS exited
  FROM positions p
)"""

_SENT_LATE = """%(start)s::timestamptz
    + ({0}.submitted_at - %(anchor)s::timestamptz) * %(speed)s::float8
    > coalesce({0}.own_valid_until, s.valid_until)"""

COUNTERS: dict[str, str] = {
    "MISSING": f"""{CANDIDATES}
SELECT format('signal %%s, connection %%s', d.signal_id, d.connection_id) AS about
FROM candidates d WHERE NOT EXISTS (SELECT FROM execution_order o
  WHERE o.leg = 'entry' AND o.leg LIKE 'entry%%'
  AND o.signal_id = d.signal_id AND o.connection_id = d.connection_id)
AND NOT EXISTS (SELECT FROM execution_archivedorder a
  WHERE a.signal_id = d.signal_id AND a.connection_id = d.connection_id)""",
    "EXTRA": f"""{CANDIDATES}
SELECT format('order %%s', o.id) AS about
FROM (
  SELECT o.id, o.signal_id, coalesce(o.routed_from_id, o.connection_id) AS subscriber
  FROM execution_order o JOIN scope s ON s.id = o.signal_id
  WHERE o.leg = 'entry' AND o.leg LIKE 'entry%%'
  UNION ALL
  SELECT a.id, a.signal_id, coalesce(a.routed_from_id, a.connection_id)
  FROM execution_archivedorder a JOIN scope s ON s.id = a.signal_id
) o
WHERE NOT EXISTS (SELECT FROM candidates d
  WHERE d.signal_id = o.signal_id AND d.connection_id = o.subscriber)""",
    # Each open status has a due time; if it is %(grace)s seconds late, no process works on it.
    "LOST": f"""{_LIVE}
SELECT format('order %%s, %%s', id, status) AS about FROM live
WHERE status <> ALL(%(terminal)s::text[]) AND status <> ALL(%(at_broker)s::text[])
  AND coalesce(CASE status WHEN 'PENDING' THEN due_at WHEN 'SUBMITTING' THEN answer_by
    WHEN 'UNKNOWN' THEN greatest(lookup_after, lookup_claimed_until) END, '-infinity')
    < clock_timestamp() - make_interval(secs => %(grace)s)
  OR pending_action <> '' AND coalesce(due_at, '-infinity')
    < clock_timestamp() - make_interval(secs => %(grace)s)
UNION ALL
SELECT format('CLOSE of a part of order %%s', o.id) FROM execution_order o
{entry_position_join_sql("o")}
WHERE o.close_fraction IS NOT NULL AND p.quantity > p.reserved AND {IS_DUE_SQL}
  AND o.done_at IS NOT NULL  -- what still works at the broker is closed in part once it has ended
  AND greatest(o.done_at, p.last_activity_at)  -- a late fill is not lost as it arrives
    < clock_timestamp() - make_interval(secs => %(grace)s)
  AND (%(signal)s::bigint IS NULL OR o.id IN (SELECT id FROM orders))""",
    "DUP": f"""{_ORDERS}{_JOURNAL}
SELECT CASE WHEN j.times > 1 THEN format('order %%s, accepted %%s times', o.id, j.times)
  ELSE format('order %%s, executed %%s of %%s', o.id, trim_scale(j.executed),
    trim_scale(o.quantity)) END AS about
FROM (SELECT connection_id, base, sum(times) AS times, sum(executed) AS executed FROM journal
  GROUP BY connection_id, base) j
JOIN {_NAMED} ON {_SAME}
WHERE (j.times > 1 OR j.executed > CASE WHEN o.aggregate_id IS NULL THEN o.quantity
    ELSE (SELECT sum(m.quantity) FROM execution_order m WHERE m.aggregate_id = o.aggregate_id) END)
  AND {_IS_AUDITED}""",
    # A position with an order in flight, or with recent activity, is not judged.
    "ORPHAN": f"""{_ORDERS}{_JOURNAL}{_HELD}{_DECIDED}
SELECT format('%%s on connection %%s', j.client_order_id, j.connection_id) AS about FROM journal j
WHERE %(signal)s::bigint IS NULL AND NOT EXISTS (SELECT FROM execution_order o WHERE {_SAME})
  AND NOT EXISTS (SELECT FROM execution_archivedorder o WHERE {_SAME} AND j.executed = 0)
  AND NOT EXISTS (SELECT FROM decided d
    WHERE d.connection_id = j.connection_id AND d.about = j.client_order_id)
UNION ALL
SELECT format('position %%s on connection %%s', j.ticket, j.connection_id)
FROM held j JOIN accounts_read c ON c.id = j.connection_id
WHERE %(signal)s::bigint IS NULL AND j.client_order_id <> ''
  AND NOT EXISTS (SELECT FROM positions_executionposition p
    WHERE p.connection_id = j.connection_id AND p.broker_position_id = j.ticket
      AND (p.quantity > 0 OR p.last_activity_at >= c.read_at))
  AND NOT EXISTS (SELECT FROM execution_order o WHERE {_SAME}
    AND (o.done_at IS NULL OR o.done_at >= c.read_at))
  AND NOT EXISTS (SELECT FROM decided d
    WHERE d.connection_id = j.connection_id AND d.about IN (j.ticket, j.client_order_id))""",
    # Positions with activity since the read, or with an exit in flight, are not judged. A listing
    # may show an execution before its report comes, so there any working exit may have closed it.
    "GHOST": f"""{_POSITIONS}{_HELD}
SELECT format('position %%s', p.id) AS about FROM positions p
JOIN accounts_read c ON c.id = p.connection_id
WHERE p.quantity > 0 AND p.last_activity_at < c.read_at AND NOT EXISTS (SELECT FROM held h
  WHERE h.connection_id = p.connection_id AND (h.ticket = p.broker_position_id
    OR p.broker_position_id = '' AND h.base <> '' AND EXISTS (SELECT FROM execution_order e
      WHERE e.signal_id = p.signal_id AND e.connection_id = p.connection_id
        AND e.position_leg = p.entry_leg AND e.leg LIKE 'entry%%'
        AND left({sent_as_sql("e")}, -1) = h.base)))
AND NOT EXISTS (SELECT FROM execution_order x WHERE x.position_id = p.id
  AND (x.status IN ('SUBMITTING', 'UNKNOWN') OR c.is_listed
    AND x.status IN ('SUBMITTED', 'PARTIALLY_FILLED', 'CANCEL_REQUESTED')))""",
    "LIMBO": f"""{_LIVE}
SELECT format('order %%s', id) AS about FROM live WHERE status = 'UNKNOWN'
  AND answer_by < clock_timestamp() - make_interval(secs => %(absence_gap)s + %(grace)s)""",
    # Acknowledged: it reached the broker. submitted_at is machine time, valid_until market time.
    "LATE": f"""{_ORDERS}
SELECT format('order %%s', o.id) AS about FROM orders o JOIN scope s ON s.id = o.signal_id
WHERE o.position_id IS NULL AND o.acknowledged_at IS NOT NULL
  AND {_SENT_LATE.format("o")}
UNION ALL
SELECT format('order %%s', a.id) FROM execution_archivedorder a JOIN scope s ON s.id = a.signal_id
WHERE a.acknowledged_at IS NOT NULL AND {_SENT_LATE.format("a")}""",
    "MISMATCH": f"""{_ORDERS}{_AND_POSITIONS}{_FILLED}
SELECT format('position %%s', id) AS about FROM filled
WHERE quantity <> entered - exited OR opened_quantity <> entered
UNION ALL
SELECT format('order %%s', o.id) FROM orders o WHERE o.filled_quantity
  <> coalesce((SELECT sum(f.quantity) FROM execution_fill f WHERE f.order_id = o.id), 0)""",
    # A netting broker lists one position per symbol, so a closed position of ours proves nothing.
    "REVERSED": f"""{_POSITIONS}{_FILLED}{_HELD}{_DECIDED}
SELECT format('position %%s', id) AS about FROM filled WHERE exited > entered
UNION
SELECT format('position %%s', p.id) FROM positions p
JOIN held h ON h.connection_id = p.connection_id AND h.ticket = p.broker_position_id
JOIN accounts_read c ON c.id = p.connection_id
WHERE h.side <> p.side AND (NOT c.is_listed OR p.quantity > 0 AND p.last_activity_at < c.read_at
  AND NOT EXISTS (SELECT FROM decided d
    WHERE d.connection_id = p.connection_id AND d.about = h.ticket))""",
    # Accepted under an attempt that had ended. Only an absence or a rejection ends an attempt.
    "RISEN": f"""{_ORDERS}{_JOURNAL}
SELECT DISTINCT format('order %%s', o.id) AS about
FROM journal j JOIN {_NAMED} ON {_SAME}
CROSS JOIN LATERAL (
  SELECT max(l.id) FILTER (WHERE l.code = 'NEVER_ARRIVED') AS last,
    max(l.id) FILTER (WHERE l.code = 'OPERATOR_RETRY') AS retried
  FROM execution_executionlog l WHERE l.order_id = o.id
) a
WHERE a.last IS NOT NULL AND {_IS_AUDITED}
  AND (right(j.client_order_id, 1)::int < o.attempt
    OR a.last > coalesce(a.retried, 0) AND right(j.client_order_id, 1)::int = o.attempt)""",
    "NAKED": f"""{_POSITIONS}
SELECT format('position %%s, for %%s s', id,
  extract(epoch FROM clock_timestamp() - coalesce(unprotected_since,
  last_activity_at))::int) AS about
FROM positions WHERE quantity > 0 AND (unprotected_since IS NOT NULL OR sl IS NOT NULL
    AND (sl_guardian = '' OR sl_guardian = 'BROKER' AND broker_sl IS NULL))
  AND coalesce(unprotected_since, last_activity_at)
    < clock_timestamp() - make_interval(secs => %(unprotected)s)""",
}
