"""Retry accounts that did not answer or may not trade, and probe hosts with an open circuit.

A single lost answer proves little. So an account that did not answer is read again within seconds,
also while it is in error for that reason. An account with a refused login is not: a broker locks
accounts that try too often.
"""

from collections.abc import Callable
from uuid import UUID

from brokers.base import BrokerAdapter
from brokers.registry import adapter_for
from common.clocks import machine_time
from common.db.sql import Query, array, periodic_rows, rows
from connections.credentials.specs import READ_COLUMNS, ReadRow
from connections.exposure import is_monitored_sql
from connections.health import host_circuit_breaker
from connections.health.account_polling import read_accounts
from connections.health.connection_checks import CallRunner, run_on_process_loop
from connections.session_lanes import IN_HELD_LANES_SQL, held_lanes_parameters

RETRY_SECONDS = 5
MAX_CONCURRENT = 200
MAX_RUN_SECONDS = 10  # after that a run starts no further batch: other probes may be due


def _readable_accounts_sql() -> str:
    """Return the shared part of the SELECTs.

    Untested accounts are not included: an answer alone would let them trade.
    """
    return f"""{READ_COLUMNS}
FROM connections_connectionhealth h JOIN connections_executionconnection c ON c.id = h.connection_id
WHERE h.status <> 'UNTESTED' AND {IN_HELD_LANES_SQL} AND {is_monitored_sql()}"""


def failing_sql() -> Query[ReadRow]:
    """Return the SELECT of accounts to retry.

    These are accounts whose last answer was lost some seconds ago, and accounts on which trading
    was not allowed when they were last read.
    """
    return Query(
        ReadRow,
        f"""
SELECT {_readable_accounts_sql()} AND (h.unreachable_at IS NOT NULL
    AND h.last_error_at < clock_timestamp() - make_interval(secs => %(retry_seconds)s)
  OR h.error_code <> '' AND h.read_after <= clock_timestamp())
  AND c.id <> ALL(%(queried)s::uuid[])
  AND (h.circuit_open_until IS NULL OR h.circuit_open_until <= clock_timestamp())
  AND c.broker_host NOT IN (SELECT host FROM connections_hostcircuit WHERE opened_at IS NOT NULL)
ORDER BY h.last_error_at LIMIT %(limit)s
""",
    )


def probe_sql() -> Query[ReadRow]:
    """Return the SELECT of one account per host: the one whose last failure is oldest.

    Each failed probe makes it another one's turn: an account may have a fault of its own.
    """
    return Query(
        ReadRow,
        f"""
SELECT DISTINCT ON (c.broker_host) {_readable_accounts_sql()} AND {host_circuit_breaker.PROBED_SQL}
  AND c.broker_host = ANY(%(hosts)s) AND c.id <> ALL(%(queried)s::uuid[])
ORDER BY c.broker_host, h.last_error_at NULLS FIRST
""",
    )


def retry_failed(
    *, run: CallRunner = run_on_process_loop, adapter: Callable[[str], BrokerAdapter] = adapter_for
) -> tuple[int, int]:
    """Read accounts that did not answer, and one of each host with a due probe, until none is due.

    A successful probe makes the host's other accounts due, which are read in the same run. No
    account is read twice in a run. Returns how many answered and how many did not.
    """
    deadline = machine_time() + MAX_RUN_SECONDS
    queried: set[UUID] = set()
    answered = failed = 0
    while due := _due(queried):
        queried.update(row.connection_id for row in due)
        answered_now, failed_now = read_accounts(due, run=run, adapter=adapter)
        answered, failed = answered + answered_now, failed + failed_now
        if machine_time() >= deadline:
            break
    return answered, failed


def _due(queried: set[UUID]) -> list[ReadRow]:
    due: list[ReadRow] = []
    if hosts := host_circuit_breaker.claim_probes(queried):
        due += rows(
            probe_sql(), {"hosts": hosts, "queried": array(queried), **held_lanes_parameters()}
        )
    values = {
        "retry_seconds": RETRY_SECONDS,
        "queried": array(queried),
        "limit": MAX_CONCURRENT,
        **held_lanes_parameters(),
    }
    return due + list(periodic_rows(failing_sql(), values))
