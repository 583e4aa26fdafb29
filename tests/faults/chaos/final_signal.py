"""One more signal when all is mended and settled: it finds every account, or says which not."""

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

HEALTHY_SECONDS = 30  # in which accounts come back after all of it
HALTS = {Code.ENTRIES_HALTED, Code.TRADING_HALTED}
NOT_PUBLISHED, NOT_CANDIDATES = "NOT_PUBLISHED", "NOT_CANDIDATES"
FAR = {"sl": "1.05000", "tp": "1.15000"}  # whatever the prices have come to
UNHEALTHY = """
SELECT (SELECT count(*) FROM connections_connectionhealth
        WHERE status <> 'ACTIVE' OR circuit_open_until > clock_timestamp()
          OR reconciled_at IS NULL)
  + (SELECT count(*) FROM connections_killswitch WHERE released_at IS NULL)
"""
BECAME = """
SELECT status, reason, count(*) AS n FROM execution_order
WHERE signal_id = ANY(%s) AND leg LIKE 'entry%%' GROUP BY 1, 2 ORDER BY 1, 2
"""
# What is known of accounts that the signal did not get to.
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
    """What became of it. waited_s: until the accounts were well; None: they were not in time."""

    waited_s: float | None
    states: dict[str, int] = field(default_factory=dict)
    locked_out: dict[str, int] = field(default_factory=dict)  # accounts, by code
    examples: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def publish(cls, stage: StackEnvironment, load: Load, settle: Callable[[], Any]) -> Self:
        """Wait until the accounts are well, publish to all of them, and have it settled."""
        assert stage.operator is not None
        began = time.monotonic()
        while not (well := _are_healthy(stage)) and time.monotonic() - began < HEALTHY_SECONDS:
            time.sleep(0.2)
        waited = round(time.monotonic() - began, 1) if well else None
        try:
            ids = stage.operator.do("publish", feed=CONNECTIONS, **FAR)
        except OperatorFailedError:
            return cls(waited, locked_out={NOT_PUBLISHED: CONNECTIONS})
        load.published += ids
        settle()
        found = stage.servers.ours.rows(BECAME, ids)
        states = {f"{row.status} {row.reason}".strip(): row.n for row in found}
        examples = [row._asdict() for row in stage.servers.ours.rows(LEFT_OUT, ids)]
        return cls(waited, states, locked_out(found), examples)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def locked_out(found: Iterable[Any], wanted: int = CONNECTIONS) -> dict[str, int]:
    """How many accounts a signal did not get to, by code. found: its orders by status and reason.

    Nobody has paused anything, so nobody is to be SKIPPED, or to wait until it is too old. A rule
    may deny an entry, a halt may not: none is left.
    """
    left, told = wanted, dict[str, int]()
    for row in found:
        left -= row.n
        if is_left_out(row) or (row.status == "DENIED" and row.reason in HALTS):
            told[row.reason] = told.get(row.reason, 0) + row.n
    return told | ({NOT_CANDIDATES: left} if left else {})


def _are_healthy(stage: StackEnvironment) -> bool:
    try:
        return int(stage.servers.ours.value(UNHEALTHY)) == 0
    except psycopg.Error:
        return False
