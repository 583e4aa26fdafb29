"""The circuit breaker of a broker's host: when most accounts do not answer, entries wait.

The database computes the host of each account (`ExecutionConnection.broker_host`). The circuit of a
host opens when at least five accounts, and at least half of those with any contact in the last half
minute, did not answer in that time. A tenant's accounts have one vote together, because all of them
may have the same wrong settings; an operator's accounts have one vote each. At least half of the
votes, and at least two, must be for opening; a single vote is enough if all accounts of the host
are that tenant's.

While the circuit is open, one account at a time is read as a probe (`connections.health.probes`).
The first answer closes it and ends the back-off of its accounts. A host whose circuit opens again
soon after is probed less often. A circuit ends with its host's last account. Exits are always sent.

Every process reads the open circuits when it renews its lease, never for an order.
"""

from collections.abc import Collection
from uuid import UUID

from django.db import transaction

from common.db.sql import array, periodic_rows, rows, run
from connections.exposure import is_monitored_sql
from connections.session_lanes import IN_HELD_LANES_SQL, held_lanes_parameters
from events.models import EventKind
from events.outbox import INSERT_EVENTS_SQL

FAILING_ACCOUNTS, WINDOW_SECONDS = 5, 30
PROBE_SECONDS, LONGEST_PROBE_SECONDS = 5, 15  # entries wait for 60 s at most
SAME_OUTAGE_SECONDS = 300  # a circuit that opens again this soon after closing: the same outage
SETTLED_SECONDS = 1  # answers that come sooner are to calls made before the circuit opened


def _open_sql() -> str:
    return f"""
WITH failed_hosts AS (
  SELECT DISTINCT broker_host FROM connections_executionconnection WHERE id = ANY(%s::uuid[])
), votes AS (
  SELECT c.broker_host AS host, coalesce(c.user_id::text, c.id::text) AS voter, c.user_id,
    count(*) AS contacted,
    count(*) FILTER (WHERE h.unreachable_at > now.before) AS failing,
    max(h.last_error) FILTER (WHERE h.unreachable_at > now.before) AS message
  FROM failed_hosts JOIN connections_executionconnection c USING (broker_host)
  JOIN connections_connectionhealth h ON h.connection_id = c.id,
  LATERAL (SELECT clock_timestamp() - interval '{WINDOW_SECONDS} seconds' AS before) now
  WHERE greatest(h.unreachable_at, h.last_used_at, h.last_connected_at) > now.before
  GROUP BY 1, 2, 3
), votes_to_open AS (
  SELECT host, sum(contacted) AS contacted, sum(failing) AS failing, max(message) AS message
  FROM votes v GROUP BY host
  HAVING count(*) FILTER (WHERE failing * 2 >= contacted) * 2 >= count(*)
    AND (count(*) FILTER (WHERE failing * 2 >= contacted) >= 2
      OR NOT EXISTS (SELECT FROM connections_executionconnection c WHERE c.broker_host = v.host
        AND {is_monitored_sql()}
        AND c.user_id IS DISTINCT FROM min(v.user_id)))
), opened AS (
  INSERT INTO connections_hostcircuit AS x (host, opened_at, probe_at, times, failing, contacted,
    message)
  SELECT host, clock_timestamp(), clock_timestamp() + interval '{PROBE_SECONDS} seconds', 1,
    failing, contacted, message
  FROM votes_to_open WHERE failing >= {FAILING_ACCOUNTS} AND failing * 2 >= contacted
  ORDER BY host
  ON CONFLICT (host) DO UPDATE SET opened_at = excluded.opened_at, probe_at = excluded.probe_at,
    failing = excluded.failing, contacted = excluded.contacted, message = excluded.message,
    times = CASE WHEN x.closed_at > clock_timestamp() - interval '{SAME_OUTAGE_SECONDS} seconds'
      THEN least(x.times + 1, 100) ELSE 1 END
  WHERE x.opened_at IS NULL
  RETURNING host, failing, contacted, message
)
{INSERT_EVENTS_SQL}
SELECT '{EventKind.HOST_DOWN.value}', NULL, NULL, NULL, NULL, jsonb_build_object('host', host,
  'failing', failing, 'contacted', contacted, 'message', message) FROM opened
"""


_CLOSE = f"""
WITH closed AS (
  UPDATE connections_hostcircuit SET opened_at = NULL, closed_at = clock_timestamp()
  WHERE opened_at < clock_timestamp() - interval '{SETTLED_SECONDS} seconds' AND host IN (
    SELECT broker_host FROM connections_executionconnection WHERE id = ANY(%s::uuid[]))
  RETURNING host
), emitted AS (
  {INSERT_EVENTS_SQL}
  SELECT '{EventKind.HOST_UP.value}', NULL, NULL, NULL, NULL, jsonb_build_object('host', host)
  FROM closed
)
SELECT host FROM closed
"""

# Accounts that backed off because of the host are read again at once.
_CLEAR_BACKOFF = """
UPDATE connections_connectionhealth SET circuit_open_until = NULL WHERE connection_id IN (
  SELECT h.connection_id FROM connections_connectionhealth h
  JOIN connections_executionconnection c ON c.id = h.connection_id
  WHERE c.broker_host = ANY(%s) AND h.unreachable_at IS NOT NULL
    AND h.circuit_open_until IS NOT NULL
  ORDER BY h.connection_id FOR NO KEY UPDATE OF h)
"""

OPEN_HOSTS = "SELECT host FROM connections_hostcircuit WHERE opened_at IS NOT NULL"
"""The hosts whose circuits are open."""


# Health `h` of an account that may be read as a probe. It need not be one that failed: all may have
# answered just as the circuit opened. One whose login was refused waits for its time.
PROBED_SQL = """(h.status = 'ACTIVE' OR h.status = 'ERROR' AND (h.unreachable_at IS NOT NULL
      OR h.read_after IS NULL OR h.read_after <= clock_timestamp()))"""


def claim_probes_sql() -> str:
    """Return the statement of `claim_probes`."""
    return f"""
WITH without_accounts AS (
  UPDATE connections_hostcircuit x SET opened_at = NULL, closed_at = clock_timestamp()
  WHERE opened_at IS NOT NULL AND probe_at <= clock_timestamp() AND NOT EXISTS (
    SELECT FROM connections_executionconnection c
    WHERE c.broker_host = x.host AND {is_monitored_sql()})
)
UPDATE connections_hostcircuit x SET probe_at = clock_timestamp() + make_interval(
  secs => least({LONGEST_PROBE_SECONDS}, {PROBE_SECONDS} * power(2, least(x.times - 1, 10))))
WHERE x.host IN (SELECT host FROM connections_hostcircuit
  WHERE opened_at IS NOT NULL AND probe_at <= clock_timestamp() AND EXISTS (
    SELECT FROM connections_connectionhealth h
    JOIN connections_executionconnection c ON c.id = h.connection_id
    WHERE c.broker_host = host AND {PROBED_SQL}
      AND {is_monitored_sql()} AND {IN_HELD_LANES_SQL}
      AND c.id <> ALL(%(queried)s::uuid[]))
  ORDER BY host FOR NO KEY UPDATE SKIP LOCKED)
RETURNING x.host
"""


def open_failing_circuits(connection_ids: Collection[UUID]) -> int:
    """Open the circuits of hosts with too many failures; return how many were opened.

    connection_ids: accounts that did not answer just now. Stores an event for the operators of each
    opened circuit.
    """
    return run(_open_sql(), (list(connection_ids),)) if connection_ids else 0


def close_answering_circuits(connection_ids: Collection[UUID]) -> list[str]:
    """Close the open circuits of the hosts of accounts that answered; return those hosts."""
    if not connection_ids or not rows(OPEN_HOSTS):
        return []
    with transaction.atomic():
        hosts = [row.host for row in rows(_CLOSE, (list(connection_ids),))]
        if hosts:
            run(_CLEAR_BACKOFF, (hosts,))
    return hosts


def open_hosts() -> frozenset[str]:
    return frozenset(row.host for row in rows(OPEN_HOSTS))


def claim_probes(queried: Collection[UUID] = ()) -> list[str]:
    """Claim hosts whose probe is due, so that no other process probes them now; return them.

    queried: accounts that the caller has read just now; a host without another account is left out.
    """
    parameters = {"queried": array(queried), **held_lanes_parameters()}
    return [row.host for row in periodic_rows(claim_probes_sql(), parameters)]
