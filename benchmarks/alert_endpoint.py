"""The endpoint for alerts: how soon it answers, while workers publish to a thousand subscribers."""

import asyncio
import json
import os
import statistics
import time

import aiohttp

from benchmarks.data import PAIR, SL, TP, BenchData
from benchmarks.environment import BenchEnvironment, BenchError
from benchmarks.results import Baseline, Result, bounded, percentile
from common.process.gc_tuning import exclude_imports_from_gc
from config.env import Settings
from signals.feeds.services import create_feed_token
from signals.models import MAX_ALERTS_PER_MINUTE, Feed

SUBSCRIBERS, FEEDS = 1_000, 50  # a feed accepts 6,000 alerts a minute
RATE = 500  # alerts a second, five times the bar's
TARGET_MS = 100.0
ALONE_SECONDS = 5
BASELINE = "one INSERT with its own commit"
INSERT = "INSERT INTO bench_post (body) VALUES (%s)"
SETTLED = """
SELECT count(*) FILTER (WHERE settled_at IS NOT NULL), count(*) FROM alerts_incomingalert
"""


def alert_endpoint(environment: BenchEnvironment, data: BenchData, seconds: int) -> Result:
    """Send alerts at a fixed rate for `seconds`, whether the endpoint keeps up or not.

    The time of an alert counts from when it was due, so falling behind is seen. Workers
    publish and trade meanwhile, as many of the alerts as the machine allows.
    """
    environment.run(workers=2)
    environment.reset()
    environment.sql("TRUNCATE alerts_incomingalert")
    port = int(Settings.read(environment.stack.environ).listen.port)
    feeds = _feeds(environment, data)
    Feed.objects.filter(pk__in=[feed.pk for feed in feeds]).update(
        alerts_per_minute=MAX_ALERTS_PER_MINUTE
    )
    paths = [f"/hooks/tradingview/{feed.slug}/{create_feed_token(feed)[1]}/" for feed in feeds]
    baseline = _insert_seconds(environment)
    exclude_imports_from_gc(threshold=10_000)  # its pauses would be measured as the endpoint's
    client = _Clients(port, paths)
    client.at_rate(RATE, 2)  # the first connections, and the first of each statement
    client.forget()
    with environment.halted():  # the endpoint alone
        client.at_rate(RATE, min(ALONE_SECONDS, seconds))
    alone = 1000 * percentile(client.seconds, 99)
    client.forget()
    began = time.perf_counter()
    client.at_rate(RATE, seconds)
    took = time.perf_counter() - began
    if client.refused:
        raise BenchError(f"the endpoint answered {client.refused[:3]}")
    ((settled, stored),) = environment.sql(SETTLED)
    environment.sql("DELETE FROM alerts_incomingalert")  # the workers go on to other work
    p99 = 1000 * percentile(client.seconds, 99)
    return bounded(
        "alert_endpoint", len(client.seconds), p99 / TARGET_MS, target=1.0, seconds=took,
        times_ms=[1000 * one for one in client.seconds],
        baseline=Baseline(BASELINE, baseline, 1 / baseline), wanted_rate=RATE,
        alone_p99_ms=alone, answered_p99_ms=1000 * percentile(client.answered, 99),
        times_baseline=statistics.median(client.answered) / baseline, settled=settled,
        stored=stored,
    )  # fmt: skip


def _feeds(environment: BenchEnvironment, data: BenchData) -> list[Feed]:
    """Make feeds, each with its share of the subscribers."""
    feeds, connections, each = [], data.connections(SUBSCRIBERS), SUBSCRIBERS // FEEDS
    for number in range(FEEDS):
        feed = data.new_feed(f"endpoint-{number}")
        data.subscribe(feed, connections[number * each : (number + 1) * each])
        feeds.append(feed)
    environment.sql("VACUUM ANALYZE")
    data.refresh()
    return feeds


def _insert_seconds(environment: BenchEnvironment) -> float:
    """Return the median seconds of one durable insert."""
    environment.sql("CREATE TABLE IF NOT EXISTS bench_post (body text)")
    took = []
    for _ in range(200):
        began = time.perf_counter()
        environment.sql(INSERT, "x" * 300)
        took.append(time.perf_counter() - began)
    environment.sql("DROP TABLE bench_post")
    return statistics.median(took)


class _Clients:
    """Senders of alerts. Connections stay open; there are as many as alerts wait for answers."""

    def __init__(self, port: int, paths: list[str]) -> None:
        self._server, self._paths = f"http://127.0.0.1:{port}", paths
        self.forget()

    def forget(self) -> None:
        """Forget what was measured."""
        self.seconds: list[float] = []
        self.answered: list[float] = []
        self.refused: list[tuple[int, str]] = []

    def at_rate(self, rate: int, seconds: int) -> None:
        """Post alerts at a fixed rate, and wait for all answers."""
        asyncio.run(self._at_rate(rate, seconds))

    async def _at_rate(self, rate: int, seconds: int) -> None:
        connector = aiohttp.TCPConnector(limit=0)
        headers = {"Host": "localhost"}
        async with (
            aiohttp.ClientSession(self._server, connector=connector, headers=headers) as client,
            asyncio.TaskGroup() as posts,
        ):
            began = time.perf_counter()
            for number in range(rate * seconds):
                due = began + number / rate
                if (left := due - time.perf_counter()) > 0:
                    await asyncio.sleep(left)
                posts.create_task(self._post(number, due, client))

    async def _post(self, number: int, due: float, client: aiohttp.ClientSession) -> None:
        """Post one alert; measure from when it was due and from when it was sent."""
        fields = {
            "action": "OPEN", "symbol": PAIR, "direction": "BUY", "sl": str(SL), "tp": str(TP),
            "external_id": f"{os.getpid()}-{due}-{number}",
        }  # fmt: skip
        path, sent = self._paths[number % len(self._paths)], time.perf_counter()
        async with client.post(path, data=json.dumps(fields)) as response:
            text = await response.text()
        now = time.perf_counter()
        self.seconds.append(now - due)
        self.answered.append(now - sent)
        if response.status != 202:
            self.refused.append((response.status, text[:200]))
