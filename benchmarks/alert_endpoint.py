"""The endpoint for alerts: how soon it answers, while workers publish to a thousand subscribers."""

import asyncio
import json
import os
import time
from collections.abc import Sequence

import aiohttp

from benchmarks.data import PAIR, SL, TP, BenchData
from benchmarks.environment import BenchEnvironment, BenchError
from benchmarks.results import Result, bounded, percentile
from common.process.gc_tuning import exclude_imports_from_gc
from config.env import Settings
from signals.feeds.services import create_feed_token
from signals.models import MAX_ALERTS_PER_MINUTE, Feed

SUBSCRIBERS, FEEDS = 1_000, 50  # a feed accepts 6,000 alerts a minute
RATE = 500  # alerts a second, five times the bar's
TARGET_MS = 100.0
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
    followers = data.connections(SUBSCRIBERS)
    feeds = data.shared_feeds("endpoint", [followers[part::FEEDS] for part in range(FEEDS)])
    Feed.objects.filter(pk__in=[feed.pk for feed in feeds]).update(
        alerts_per_minute=MAX_ALERTS_PER_MINUTE
    )
    paths = [f"/hooks/tradingview/{feed.slug}/{create_feed_token(feed)[1]}/" for feed in feeds]
    exclude_imports_from_gc(threshold=10_000)  # its pauses would be measured as the endpoint's
    _post_at_rate(port, paths, RATE, 2)  # the first connections, and the first of each statement
    began = time.perf_counter()
    took = _post_at_rate(port, paths, RATE, seconds)
    in_all = time.perf_counter() - began
    ((settled, stored),) = environment.sql(SETTLED)
    environment.sql("DELETE FROM alerts_incomingalert")  # the workers go on to other work
    return bounded(
        "alert_endpoint", len(took), percentile(took, 99) / TARGET_MS, target=1.0, seconds=in_all,
        times_ms=took, wanted_rate=RATE, settled=settled, stored=stored,
    )  # fmt: skip


def _post_at_rate(port: int, paths: Sequence[str], rate: int, seconds: int) -> list[float]:
    """Post alerts at a fixed rate; return the milliseconds from when each was due to its answer.

    Connections stay open; there are as many as alerts wait for answers. Raises BenchError.
    """
    took: list[float] = []

    async def post(number: int, due: float, client: aiohttp.ClientSession) -> None:
        fields = {
            "action": "OPEN", "symbol": PAIR, "direction": "BUY", "sl": str(SL), "tp": str(TP),
            "external_id": f"{os.getpid()}-{due}-{number}",
        }  # fmt: skip
        path = paths[number % len(paths)]
        async with client.post(path, data=json.dumps(fields)) as response:
            text = await response.text()
        took.append(1000 * (time.perf_counter() - due))
        if response.status != 202:
            raise BenchError(f"the endpoint answered {response.status} {text[:200]}")

    async def post_all() -> None:
        headers, connector = {"Host": "localhost"}, aiohttp.TCPConnector(limit=0)
        server = f"http://127.0.0.1:{port}"
        async with (
            aiohttp.ClientSession(server, connector=connector, headers=headers) as client,
            asyncio.TaskGroup() as posts,
        ):
            began = time.perf_counter()
            for number in range(rate * seconds):
                due = began + number / rate
                if (left := due - time.perf_counter()) > 0:
                    await asyncio.sleep(left)
                posts.create_task(post(number, due, client))

    try:
        asyncio.run(post_all())
    except* BenchError as refused:
        raise refused.exceptions[0] from None
    return took
