"""Recovery: one process is killed by `kill -9` while a signal is executed. How long until all of
its orders are settled, with nothing lost and nothing sent twice?

Each kind of process is killed in turn, also PostgreSQL, Redis, and the supervisor with all that it
has started. The broker is a server with books of its own, which says afterwards what it received.
"""

import os
import shutil
import signal
import tempfile
import threading
import time
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.environment import BenchError, report_progress
from benchmarks.recovery_environment import RecoveryEnvironment
from benchmarks.results import Result, bounded
from config.installation import var_folder
from tests.faults.process_fleet import OperatorFailedError
from tests.faults.seeding import FEEDS

TARGET_SECONDS, MOST_SECONDS = 20.0, 300.0
REPLY_MS = 100  # the broker's answers take so long, so that many calls are in flight
ENTRIES, EXITS, SESSIONS = "entries", "exits", "sessions"
# Killed as soon as intents are committed, before most of their orders have left; SENT: after that.
SENT = ("entries sent", "exits sent")
KINDS = (ENTRIES, EXITS, *SENT, SESSIONS, "maintenance", "prices", "beat", "web", "fork-server",
         "redis", "postgres", "supervisor")  # fmt: skip
USUAL_CONNECTIONS = 200  # from so many on it is a measurement, else only a test:
SMALL, QUICK = (ENTRIES, "prices", "redis"), {"execution.absence_gap_seconds": 10}
# Those that send orders: one is killed at its first claim.
SENDERS = {ENTRIES: ("execution-1", "execution-2"), EXITS: (EXITS,), SESSIONS: (SESSIONS,)}
SENDING = """
SELECT w.pid, count(*) AS orders FROM execution_order o
JOIN execution_workerlease w ON w.id = o.worker_id WHERE o.status = 'SUBMITTING'
GROUP BY w.pid ORDER BY orders DESC
"""
ALL_CLAIMED = """
SELECT count(*) > 0 AND count(*) FILTER (WHERE status = 'PENDING') = 0 AS is_true
FROM execution_order WHERE id > %s
"""
OPEN_SIGNAL = """
SELECT signal_id FROM positions_executionposition WHERE quantity > 0
GROUP BY signal_id ORDER BY count(*) DESC, signal_id LIMIT 1
"""
PUBLISHED = """
SELECT coalesce(sum(candidate_count), 0) FROM signals_signal
WHERE published_at IS NOT NULL AND action = 'OPEN'
"""
NEWEST = "SELECT coalesce(max(id), 0) FROM execution_order"
ENDED = """
SELECT count(*) FILTER (WHERE status = 'FILLED') AS filled, count(*) AS orders,
  coalesce(string_agg(DISTINCT nullif(reason, ''), ', '), '') AS reasons
FROM execution_order WHERE id > %s AND leg LIKE %s
"""


@dataclass(slots=True)
class Case:
    """The kill of one kind of process. seconds: from it until the last order was settled."""

    kind: str
    seconds: float = 0.0
    in_flight: int = 0
    ended: dict[str, Any] = field(default_factory=dict)
    wrong: dict[str, Any] = field(default_factory=dict)

    @property
    def sender(self) -> str:
        """The kind of senders that it kills, or an empty text."""
        name = self.kind.partition(" ")[0]
        return name if name in SENDERS else ""


def recovery(count: int) -> Result:
    """Kill each kind of process once, with as many orders as the nearest feed has subscribers."""
    subscribers = max((feed for feed in FEEDS if feed <= count), default=FEEDS[0])
    is_usual = count >= USUAL_CONNECTIONS
    parent = var_folder(os.environ) / "bench"
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="recovery-", dir=parent))
    with RecoveryEnvironment(folder, subscribers, {} if is_usual else QUICK) as environment:
        environment.wait_well()
        environment.operator.do("publish", feed=subscribers)  # warm-up, closed below
        environment.servers.books.rows("UPDATE paper_account SET reply_delay_ms = %s", REPLY_MS)
        kinds = KINDS if is_usual else SMALL
        cases = [_run(environment, Case(kind), subscribers) for kind in kinds]
    shutil.rmtree(folder, ignore_errors=True)
    seconds = [case.seconds for case in cases]
    return bounded(
        "recovery", subscribers, max(seconds), target=TARGET_SECONDS,
        also=not any(case.wrong for case in cases), seconds=max(seconds),
        times_ms=[1000 * one for one in seconds], unit="seconds of the slowest recovery",
        kinds={case.kind: asdict(case) for case in cases},
    )  # fmt: skip


def _run(environment: RecoveryEnvironment, case: Case, subscribers: int) -> Case:
    pids = environment.wait_well()
    ours = environment.servers.ours
    newest = ours.value(NEWEST)
    if case.kind == "web":
        killed_at = _publish_by_web(environment, subscribers, pids[case.kind])
    else:
        killed_at = _publish(environment, pids, subscribers, case, newest)
    left = MOST_SECONDS - (time.monotonic() - killed_at)
    environment.wait(environment.is_settled, left, every=0.02, what=f"{case.kind}: settled")
    case.seconds = time.monotonic() - killed_at
    (ended,) = ours.rows(ENDED, newest, "close%" if case.sender == EXITS else "entry%")
    case.ended = ended._asdict()
    counts = environment.count.against_the_journal(int(ours.value(PUBLISHED)))
    case.wrong = {name: number for name, number in counts.items() if number}
    report_progress(f"  {case}")
    return case


def _publish(
    environment: RecoveryEnvironment, pids: dict[str, int], subscribers: int, case: Case,
    newest: int,
) -> float:  # fmt: skip
    """Publish a signal, kill the process while orders are in flight; return when.

    newest: the highest id of an order before.
    """
    if case.sender == EXITS:
        opened = environment.servers.ours.value(OPEN_SIGNAL)
        environment.operator.begin("publish", action="CLOSE", refers_to=opened)
    else:
        environment.operator.begin("publish", feed=subscribers)
    victim = _await_in_flight(environment, pids, case, newest)
    if case.kind in SENT:
        time.sleep(REPLY_MS / 2000)
    killed_at = time.monotonic()
    environment.kill(case.kind, victim)
    try:
        environment.operator.answer()
    except OperatorFailedError as error:
        report_progress(f"  {case.kind}: the publisher got an error after its commit: {error}")
    return killed_at


def _await_in_flight(
    environment: RecoveryEnvironment, pids: dict[str, int], case: Case, newest: int
) -> int:
    """Wait until orders are in flight; return the id of the process to be killed.

    A sender and Redis are killed at the first claim, so that others have to go on with what is
    still queued; everything else once all orders are claimed.
    """
    # Only a sender must be one of these: after Redis was killed any process may send entries.
    senders = {pids[name] for name in SENDERS[case.sender]} if case.sender else None
    at_first_claim = senders is not None or case.kind == "redis"
    sending: dict[int, int] = {}

    def are_in_flight() -> bool:
        nonlocal sending
        found = environment.servers.ours.rows(SENDING)
        sending = {row.pid: row.orders for row in found if senders is None or row.pid in senders}
        if at_first_claim:
            return bool(sending)
        return bool(environment.servers.ours.value(ALL_CLAIMED, newest))

    environment.wait(are_in_flight, MOST_SECONDS, every=0.002, what=f"{case.kind}: in flight")
    case.in_flight = sum(sending.values())
    if senders is not None:
        return max(sending, key=sending.__getitem__)
    return pids.get(case.kind, 0)


def _publish_by_web(environment: RecoveryEnvironment, subscribers: int, victim: int) -> float:
    """Publish by the API, kill the web process meanwhile, and repeat the request until it is
    answered; return when it was killed."""
    key, signal_id = environment.operator.do("draft", feed=subscribers)
    url = f"http://127.0.0.1:{environment.port}/api/v1/signals/{signal_id}/publish/"
    headers = {"Authorization": f"Bearer {key}"}
    request = urllib.request.Request(url, method="POST", headers=headers)
    first = threading.Thread(target=_is_answered, args=(request,))
    first.start()
    time.sleep(REPLY_MS / 2000)  # the publication is being written, or just was
    killed_at = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    first.join()
    environment.wait(lambda: _is_answered(request), MOST_SECONDS, every=0.1, what="web")
    return killed_at


def _is_answered(request: urllib.request.Request) -> bool:
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            response.read()
    except urllib.error.HTTPError as error:
        raise BenchError(f"the publication is refused: {error.read()[:500]!r}") from error
    except OSError:
        return False
    return True
