"""What `load` reads every few seconds, on a thread and a database session of its own.

Each sample is written to a file at once, so that a run that is killed leaves what it has.
"""

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import psycopg

from benchmarks import process_usage
from benchmarks.browsing import Browsers
from benchmarks.page_readers import Request
from benchmarks.process_usage import Pids
from benchmarks.results import percentile
from execution.metrics import GAUGES

EVERY_SECONDS = 10.0
SETTLED_SECONDS = 10.0  # signals are read so long after their publication
(DUE,) = (gauge.statement() for gauge in GAUGES if gauge.name == "order_due_seconds")
ORDERS = """
SELECT c.type, o.status, extract(epoch FROM coalesce(o.filled_at, o.done_at) - s.published_at)
FROM execution_order o JOIN signals_signal s ON s.id = o.signal_id
JOIN connections_executionconnection c ON c.id = o.connection_id
WHERE o.signal_id = ANY(%s) AND s.action = 'OPEN'
UNION ALL
SELECT c.type, o.status, extract(epoch FROM coalesce(o.filled_at, o.done_at) - s.published_at)
FROM signals_signal s JOIN positions_executionposition p ON p.signal_id = s.refers_to_id
JOIN execution_order o ON o.position_id = p.id AND o.leg LIKE 'close%%'
JOIN connections_executionconnection c ON c.id = o.connection_id
WHERE s.id = ANY(%s) AND s.action = 'CLOSE'
"""
TABLES = """
SELECT relname, n_live_tup, n_dead_tup, autovacuum_count, autoanalyze_count,
  pg_table_size(relid) / 1e6::float8, pg_indexes_size(relid) / 1e6::float8, n_tup_upd,
  n_tup_hot_upd
FROM pg_stat_user_tables WHERE n_live_tup + n_dead_tup >= 1000 OR pg_table_size(relid) > 1e6
"""
WAL = "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::float8 / 1e6"


class Sampler:
    """Samples until it is stopped. samples: all of them; published: signal ids and their times."""

    def __init__(
        self, database_url: str, pids: Callable[[], Pids], browsers: Browsers, path: Path,
        report: Callable[[dict[str, Any]], None],
    ) -> None:  # fmt: skip
        self.samples: list[dict[str, Any]] = []
        self.requests: list[tuple[float, Request]] = []  # with the second in which they were read
        self.published: list[tuple[float, int]] = []
        self.repeated = 0  # publications, after a deadlock or a time-out
        self._pids, self._browsers, self._report = pids, browsers, report
        self._database = psycopg.connect(database_url, autocommit=True)
        self._database.execute("SET jit = off")
        self._file = path.open("w")
        self._read_to = 0
        self._over = threading.Event()
        self._began = time.monotonic()
        self._thread = ThreadPoolExecutor(1)
        self._sampling: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the thread, also after an error elsewhere: the process could not end without that."""
        self._over.set()
        self._thread.shutdown()

    def start(self) -> None:
        """Begin; the seconds of the samples count from here."""
        self._began = time.monotonic()
        self._sampling = self._thread.submit(self._run)

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began

    def expect_running(self) -> None:
        """Raise what has ended the thread, if it has ended."""
        if self._sampling is not None and self._sampling.done():
            self._sampling.result()

    def stop(self) -> None:
        """End the thread and take a last sample. Raises what the thread raised."""
        self._over.set()
        if self._sampling is not None:
            self._sampling.result()
        self._take()
        self._file.close()
        self._database.close()

    def _run(self) -> None:
        due = EVERY_SECONDS
        while not self._over.wait(max(due - self.seconds, 0.0)):
            self._take()
            due += EVERY_SECONDS

    def _take(self) -> None:
        sample = self._sample()
        self.samples.append(sample)
        self._file.write(json.dumps(sample) + "\n")
        self._file.flush()
        self._report(sample)

    def _sample(self) -> dict[str, Any]:
        at, pids = self.seconds, self._pids()
        requests = self._browsers.take()
        self.requests += [(at, request) for request in requests]
        ((due,),) = self._rows(DUE)
        ((wal,),) = self._rows(WAL)
        return {
            "at": round(at, 1),
            "load": round(os.getloadavg()[0], 2),
            "mb": _rounded(process_usage.memory_mb(pids)),
            "cpu_s": _rounded(process_usage.cpu_seconds(pids)),
            "database_sessions": process_usage.database_sessions(pids.get("postgres", [])),
            "due_s": round(float(due), 3),
            "wal_mb": round(float(wal), 3),
            "published": len(self.published),
            "pages": _pages(requests),
            "orders": self._orders(at),
            "tables": self._tables(),
        }

    def _rows(self, text: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return self._database.execute(text.encode(), parameters or None).fetchall()

    def _orders(self, at: float) -> dict[str, Any]:
        """Return what became of the orders of signals that were published some seconds ago."""
        ready = [pk for when, pk in self.published[self._read_to :] if when <= at - SETTLED_SECONDS]
        self._read_to += len(ready)
        rows = self._rows(ORDERS, ready, ready)
        kinds = sorted({kind for kind, _, _ in rows})
        return {
            "signals": len(ready),
            "states": dict(Counter(status for _, status, _ in rows)),
            "all": _times([seconds for _, _, seconds in rows]),
            **{kind: _times([s for one, _, s in rows if one == kind]) for kind in kinds},
        }

    def _tables(self) -> dict[str, dict[str, Any]]:
        names = ("live", "dead", "autovacuums", "autoanalyzes", "table_mb", "index_mb", "updates",
                 "hot")  # fmt: skip
        return {
            table: dict(zip(names, [round(float(one), 3) for one in figures], strict=True))
            for table, *figures in self._rows(TABLES)
        }


def read(path: Path) -> list[dict[str, Any]]:
    """Return the samples of a file; the last line may be half written."""
    samples = []
    for line in path.read_text().splitlines():
        with suppress(json.JSONDecodeError):
            samples.append(json.loads(line))
    return samples


def _pages(requests: list[Request]) -> dict[str, Any]:
    took = [request.milliseconds for request in requests]
    return {
        "count": len(took),
        "p50_ms": percentile(took, 50) if took else None,
        "p99_ms": percentile(took, 99) if took else None,
        "failed": sum(request.status != 200 for request in requests),
    }


def _times(seconds: list[Any]) -> dict[str, Any]:
    """Return percentiles in milliseconds; an order without a time has not ended."""
    ended = [1000 * float(one) for one in seconds if one is not None]
    if not ended:
        return {"count": len(seconds), "p50_ms": None, "p99_ms": None}
    return {
        "count": len(seconds),
        "p50_ms": round(percentile(ended, 50), 1),
        "p99_ms": round(percentile(ended, 99), 1),
    }


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 2) for name, value in values.items()}
