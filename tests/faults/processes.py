"""Real processes to kill: workers on the test database, a Redis of their own, a journal."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

from django.db import connection

from benchmarks.world import World
from brokers.base import Quote
from brokers.paper.models import PaperAccount, PaperOrder
from brokers.paper.venue import on_quotes
from common.clocks import market_now
from common.embedded.redis import RedisServer
from common.sql import rows
from prices.services import store_quotes
from signals.models import Feed

ROOT = Path(__file__).resolve().parents[2]
OPEN = "('PENDING', 'SUBMITTING', 'UNKNOWN')"
FAST = {
    "FILLCAST_LEASE_SECONDS": "4",
    "FILLCAST_SEND_WITHIN_SECONDS": "2",
    "FILLCAST_CALL_TIMEOUT_SECONDS": "2",
    "FILLCAST_PROOF_GAP_SECONDS": "10",
    "FILLCAST_LOOK_EVERY_SECONDS": "1",
    "FILLCAST_WIRE_PLACES": "100",
}
QUOTE = ("EUR/USD", Decimal("1.09990"), Decimal("1.10000"))


class Sql:
    """What the benches' world needs of its place."""

    def sql(self, statement: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement)


class Fleet:
    """Workers and a Redis on private ports. Only what it started is ever killed, by pid."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.redis = RedisServer(folder / "redis").start()
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        settings = connection.settings_dict
        database = (
            f"postgresql://{settings['USER']}:{settings['PASSWORD']}@{settings['HOST']}:"
            f"{settings['PORT']}/{settings['NAME']}"
        )
        self.environ = {
            **os.environ,
            **FAST,
            "DATABASE_URL": database,
            "REDIS_URL": self.redis.url,
            "FILLCAST_DB_ROLE": "trade",
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self.workers):
            self.kill(name)
        self.redis.stop()

    def worker(self, name: str, queues: str = "execution,exits") -> None:
        """Start a worker and wait until it has its lease."""
        before = self.leases()
        line = [sys.executable, "-m", "celery", "-A", "config", "worker", "-P", "solo"]
        line += ["-Q", queues, "-n", f"{name}@%h", "--without-gossip", "--without-mingle"]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.workers[name] = subprocess.Popen(
                line, env=self.environ, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
            )
        until(lambda: self.leases() > before, 60, f"{name} has no lease")

    def leases(self) -> int:
        found = rows("SELECT count(*) AS n FROM execution_workerlease")
        return int(found[0].n)

    def kill(self, name: str, how: signal.Signals = signal.SIGKILL) -> None:
        process = self.workers.pop(name)
        process.send_signal(how)
        process.wait(30)

    def publish(self, feed: Feed, count: int = 1) -> dict[str, Any]:
        """Publish through the command, in a process of its own; returns what it printed."""
        body = [
            {
                "feed": feed.slug, "symbol": "EUR/USD", "direction": "BUY", "sl": "1.095",
                "tp": "1.11", "external_id": f"fault-{number}-{time.time_ns()}",
            }
            for number in range(count)
        ]  # fmt: skip
        done = subprocess.run(
            [sys.executable, "manage.py", "publish_signal", "-"],
            input=json.dumps(body), text=True, capture_output=True, env=self.environ, cwd=ROOT,
            check=True,
        )  # fmt: skip
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return told


def until(what: Callable[[], bool], seconds: float, otherwise: str) -> float:
    """Poll for a state with a deadline; return how long it took."""
    began = time.monotonic()
    while not what():
        assert time.monotonic() - began < seconds, otherwise
        time.sleep(0.02)
    return time.monotonic() - began


def seed(subscribers: int, **faults: Any) -> Feed:
    """Paper accounts that may trade, all on one feed, with faults of the broker."""
    world = World(Sql())  # type: ignore[arg-type]  # all that it asks of its place is sql()
    feed = world.feed(subscribers)
    PaperAccount.objects.update(**faults)
    quote(world.source.pk)
    return feed


def quote(source: int) -> None:
    """Bring a fresh price to the broker and to us."""
    fresh = [Quote(*QUOTE, market_now())]
    on_quotes(fresh)
    store_quotes(source, fresh)


def states() -> dict[str, int]:
    found = rows(
        "SELECT status || CASE WHEN status IN ('FAILED', 'DENIED', 'SKIPPED') THEN ' ' || reason"
        " ELSE '' END AS state, count(*) AS n FROM execution_order GROUP BY 1"
    )
    return {row.state: row.n for row in found}


def open_orders() -> int:
    found = rows(f"SELECT count(*) AS n FROM execution_order WHERE status IN {OPEN}")
    return int(found[0].n)


def count(expected: int) -> dict[str, int]:
    """Count against the broker's journal what must be 0; `expected` orders were to be made."""
    journal = Counter(PaperOrder.objects.values_list("client_order_id", flat=True))
    ours = {
        row.client_order_id: row
        for row in rows("SELECT * FROM execution_order WHERE client_order_id IS NOT NULL")
    }
    legs = Counter(
        (ours[cid].signal_id, ours[cid].connection_id, ours[cid].leg)
        for cid in journal.elements()
        if cid in ours
    )
    made = rows("SELECT count(*) AS n FROM execution_order")[0].n
    mismatched = rows(
        "SELECT count(*) AS n FROM positions_executionposition p LEFT JOIN ("
        "  SELECT o.connection_id, o.signal_id, sum(CASE WHEN o.position_id IS NULL"
        "    THEN f.quantity ELSE -f.quantity END) AS q"
        "  FROM execution_fill f JOIN execution_order o ON o.id = f.order_id GROUP BY 1, 2) x"
        " ON x.connection_id = p.connection_id AND x.signal_id = p.signal_id"
        " WHERE p.quantity IS DISTINCT FROM x.q"
    )[0].n
    return {
        "MISSING": expected - made,
        "DUP": sum(times - 1 for times in legs.values()),
        "ORPHAN": sum(cid not in ours for cid in journal),
        "LOST": open_orders(),
        "UNTOLD": sum(cid in ours and ours[cid].status != "FILLED" for cid in journal),
        "PHANTOM": sum(o.status == "FILLED" and cid not in journal for cid, o in ours.items()),
        "MISMATCH": mismatched,
    }
