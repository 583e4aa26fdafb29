"""One more signal after all is settled: it must reach every account."""

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import psycopg

from common.reason_codes import Code
from tests.faults.chaos.load import Load
from tests.faults.chaos.stack_environment import CONNECTIONS, StackEnvironment
from tests.faults.chaos.trading_check import is_left_out
from tests.faults.process_fleet import OperatorFailedError

HEALTHY_SECONDS = 30  # within which accounts must be healthy again
HALTS = {Code.ENTRIES_HALTED, Code.TRADING_HALTED}
NOT_PUBLISHED, NOT_CANDIDATES = "NOT_PUBLISHED", "NOT_CANDIDATES"
FAR = {"sl": "1.05000", "tp": "1.15000"}  # far from any price of the run
UNHEALTHY = """
SELECT (SELECT count(*) FROM connections_connectionhealth
        WHERE status <> 'ACTIVE' OR circuit_open_until > clock_timestamp()
          OR reconciled_at IS NULL)
  + (SELECT count(*) FROM connections_killswitch WHERE released_at IS NULL)
"""
OUTCOMES = """
SELECT status, reason, count(*) AS n FROM execution_order
WHERE signal_id = ANY(%s) AND leg LIKE 'entry%%' GROUP BY 1, 2 ORDER BY 1, 2
"""
# Details of accounts that the signal did not reach.
LEFT_OUT = """
SELECT o.reason, c.type, c.broker_host, h.status, h.error_code, h.last_error, h.needs_test,
  h.consecutive_failures AS failures,
  extract(epoch FROM clock_timestamp() - h.errored_at)::int AS errored_s_ago,
  extract(epoch FROM clock_timestamp() - h.last_connected_at)::int AS connected_s_ago,
  extract(epoch FROM clock_timestamp() - h.reconciled_at)::int AS reconciled_s_ago,
  extract(epoch FROM h.circuit_open_until - clock_timestamp())::int AS circuit_open_s
FROM execution_order o JOIN connections_executionconnection c ON c.id = o.connection_id
JOIN connections_connectionhealth h ON h.connection_id = c.id
WHERE o.signal_id = ANY(%s) AND o.leg LIKE 'entry%%' AND o.status <> 'FILLED'
ORDER BY o.id LIMIT 5
"""


@dataclass(frozen=True, slots=True)
class FinalSignal:
    """The outcome of the signal. waited_s: until all accounts were healthy; None: not in time."""

    waited_s: float | None
    states: dict[str, int] = field(default_factory=dict)
    locked_out: dict[str, int] = field(default_factory=dict)  # accounts, by code
    examples: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def publish(cls, environment: StackEnvironment, load: Load, settle: Callable[[], Any]) -> Self:
        """Wait until the accounts are healthy, publish to all of them, and wait until settled."""
        assert environment.operator is not None
        began = time.monotonic()
        while (
            not (healthy := _are_healthy(environment))
            and time.monotonic() - began < HEALTHY_SECONDS
        ):
            time.sleep(0.2)
        waited = round(time.monotonic() - began, 1) if healthy else None
        try:
            ids = environment.operator.do("publish", feed=CONNECTIONS, **FAR)
        except OperatorFailedError:
            return cls(waited, locked_out={NOT_PUBLISHED: CONNECTIONS})
        load.published += ids
        settle()
        orders = environment.servers.ours.rows(OUTCOMES, ids)
        states = {f"{row.status} {row.reason}".strip(): row.n for row in orders}
        examples = [row._asdict() for row in environment.servers.ours.rows(LEFT_OUT, ids)]
        return cls(waited, states, locked_out(orders), examples)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def locked_out(orders: Iterable[Any], expected: int = CONNECTIONS) -> dict[str, int]:
    """Return how many accounts a signal did not reach, by code.

    orders: its entries by status and reason. Nothing is paused, so no account may be SKIPPED or
    wait until the signal is too old. A rule may deny an entry, but a kill switch may not: none is
    left.
    """
    left, counts = expected, dict[str, int]()
    for row in orders:
        left -= row.n
        if is_left_out(row) or (row.status == "DENIED" and row.reason in HALTS):
            counts[row.reason] = counts.get(row.reason, 0) + row.n
    return counts | ({NOT_CANDIDATES: left} if left else {})


def _are_healthy(environment: StackEnvironment) -> bool:
    try:
        return int(environment.servers.ours.value(UNHEALTHY)) == 0
    except psycopg.Error:
        return False
