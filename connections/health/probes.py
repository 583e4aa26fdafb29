"""Reading accounts again that did not answer or may not trade, and probing hosts whose circuit is
open.

A lost answer says little; the next one says more. So whoever failed to answer is read again within
seconds, while it is in doubt and while it is in error for that reason. A refused login is not: a
broker locks accounts that try too often.
"""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from brokers.base import BrokerAdapter
from brokers.registry import adapter_for
from common.clocks import machine_time
from common.sql import array, rows
from connections.credentials.specs import READ_COLUMNS
from connections.exposure import is_monitored_sql
from connections.health import host_circuit_breaker
from connections.health.account_polling import read_accounts
from connections.health.connection_checks import CallRunner, run_on_process_loop
from connections.session_lanes import IN_HELD_LANES_SQL, held_lanes_parameters

RETRY_SECONDS = 5
AT_ONCE = 200
MAX_RUN_SECONDS = 10  # a look begins no further batch after so long: probes are due meanwhile


def _readable_accounts_sql() -> str:
    """What is untested waits for its test: an answer alone would let it trade."""
    return f"""{READ_COLUMNS}
FROM connections_connectionhealth h JOIN connections_executionconnection c ON c.id = h.connection_id
WHERE h.status <> 'UNTESTED' AND {IN_HELD_LANES_SQL} AND {is_monitored_sql()}"""


def failing_sql() -> str:
    """The accounts whose last answer was lost, some seconds ago, and those on which trading was not
    allowed when they were last read."""
    return f"""
SELECT {_readable_accounts_sql()} AND (h.unreachable_at IS NOT NULL
    AND h.last_error_at < clock_timestamp() - make_interval(secs => %(again)s)
  OR h.error_code <> '' AND h.read_after <= clock_timestamp())
  AND c.id <> ALL(%(asked)s::uuid[])
  AND (h.circuit_open_until IS NULL OR h.circuit_open_until <= clock_timestamp())
  AND c.broker_host NOT IN (SELECT host FROM connections_hostcircuit WHERE opened_at IS NOT NULL)
ORDER BY h.last_error_at LIMIT %(limit)s
"""


def probe_sql() -> str:
    """The one of each host that failed longest ago: each probe asks another account."""
    return f"""
SELECT DISTINCT ON (c.broker_host) {_readable_accounts_sql()} AND h.unreachable_at IS NOT NULL
  AND c.broker_host = ANY(%(hosts)s) AND c.id <> ALL(%(asked)s::uuid[])
ORDER BY c.broker_host, h.last_error_at
"""


def retry_failed(
    *, run: CallRunner = run_on_process_loop, adapter: Callable[[str], BrokerAdapter] = adapter_for
) -> tuple[int, int]:
    """Read accounts in doubt, and one of each host whose probe is due, until none is due.

    A probe that is answered wakes its neighbours, who are read in the same look. Nobody is asked
    twice in one. Returns how many answered and how many did not.
    """
    until = machine_time() + MAX_RUN_SECONDS
    queried: set[UUID] = set()
    answered = failed = 0
    while due := _due(queried):
        queried.update(row.connection_id for row in due)
        well, unwell = read_accounts(due, run=run, adapter=adapter)
        answered, failed = answered + well, failed + unwell
        if machine_time() >= until:
            break
    return answered, failed


def _due(queried: set[UUID]) -> list[Any]:
    due: list[Any] = []
    if hosts := host_circuit_breaker.claim_probes(queried):
        due += rows(
            probe_sql(), {"hosts": hosts, "asked": array(queried), **held_lanes_parameters()}
        )
    values = {
        "again": RETRY_SECONDS,
        "asked": array(queried),
        "limit": AT_ONCE,
        **held_lanes_parameters(),
    }
    return due + list(rows(failing_sql(), values))
