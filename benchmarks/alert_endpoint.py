"""The endpoint for alerts: how soon it answers, while workers publish to a thousand subscribers."""

import asyncio
import json
import os
import re
import statistics
import time

from benchmarks.data import PAIR, SL, TP, BenchData
from benchmarks.environment import BenchEnvironment, BenchError
from benchmarks.results import Baseline, Result, percentile
from common.gc_tuning import exclude_imports_from_gc
from config.env import Settings
from signals.feeds import create_feed_token
from signals.models import MAX_ALERTS_PER_MINUTE, Feed

SUBSCRIBERS = 1_000
SLOW, FAST = 50, 500  # alerts a second
TARGET_MS = 100.0
_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
ALONE_SECONDS = 5
# A feed accepts 6,000 alerts a minute: at 50 a second all subscribers follow one, which is the most
# that one alert can cause; at 500 a second they are spread.
FEEDS = {SLOW: 1, FAST: 50}
BASELINE = "one INSERT with its own commit"
INSERT = "INSERT INTO bench_post (body) VALUES (%s)"


def slow(environment: BenchEnvironment, data: BenchData, seconds: int) -> Result:
    """Measure the endpoint's answers at 50 alerts a second for `seconds`."""
    return _measure("alert_endpoint", environment, data, SLOW, seconds)


def fast(environment: BenchEnvironment, data: BenchData, seconds: int) -> Result:
    """Measure the endpoint's answers at 500 alerts a second for `seconds`."""
    return _measure("alert_endpoint_500", environment, data, FAST, seconds)


def _measure(
    name: str, environment: BenchEnvironment, data: BenchData, rate: int, seconds: int
) -> Result:
    """Send alerts at a fixed rate, whether the endpoint keeps up or not.

    The time of an alert counts from when it was due, so falling behind is seen. Workers
    publish and trade meanwhile, as many of the alerts as the machine allows.
    """
    environment.run(workers=2)
    environment.reset()
    environment.sql("TRUNCATE alerts_incomingalert")
    port = int(Settings.read(environment.stack.environ).listen.port)
    feeds = _feeds(environment, data, FEEDS[rate])
    Feed.objects.filter(pk__in=[feed.pk for feed in feeds]).update(
        alerts_per_minute=MAX_ALERTS_PER_MINUTE
    )
    paths = [f"/hooks/tradingview/{feed.slug}/{create_feed_token(feed)[1]}/" for feed in feeds]
    baseline = _insert_seconds(environment)
    exclude_imports_from_gc(threshold=10_000)  # its pauses would be measured as the endpoint's
    client = _Clients(port, paths)
    client.at_rate(rate, 2)  # the first connections, and the first of each statement
    client.forget()
    with environment.halted():  # the endpoint alone
        client.at_rate(rate, min(ALONE_SECONDS, seconds))
    alone = 1000 * percentile(client.seconds, 99)
    client.forget()
    began = time.perf_counter()
    client.at_rate(rate, seconds)
    took = time.perf_counter() - began
    if client.refused:
        raise BenchError(f"the endpoint answered {client.refused[:3]}")
    p99 = 1000 * percentile(client.seconds, 99)
    answered = 1000 * percentile(client.answered, 99)
    waited = environment.sql(
        "SELECT coalesce(percentile_cont(0.99) WITHIN GROUP (ORDER BY settled_at - received_at),"
        " interval '0')::text, count(*) FILTER (WHERE settled_at IS NOT NULL), count(*)"
        " FROM alerts_incomingalert"
    )[0]
    environment.sql("DELETE FROM alerts_incomingalert")  # the workers go on to other work
    return Result(
        name=name,
        n=len(client.seconds),
        seconds=took,
        rate=len(client.seconds) / took,
        p50_ms=1000 * percentile(client.seconds, 50),
        p99_ms=p99,
        baseline=Baseline(BASELINE, baseline, 1 / baseline),
        ratio=p99 / TARGET_MS,
        target=1.0,
        ok=p99 <= TARGET_MS,
        half=p99 <= 2 * TARGET_MS,
        detail={
            "wanted_rate": rate,
            "feeds": len(feeds),
            "subscribers_of_each": SUBSCRIBERS // len(feeds),
            "alone_p99_ms": round(alone, 1),  # while no worker runs
            "answered_p99_ms": round(answered, 1),  # from sending
            "times_baseline": round(statistics.median(client.answered) / baseline, 1),
            "settled": waited[1],
            "stored": waited[2],
            "settled_p99": waited[0],
        },
    )


def _feeds(environment: BenchEnvironment, data: BenchData, count: int) -> list[Feed]:
    """Return so many feeds, each with its share of the subscribers; the first call creates them."""
    prefix = f"endpoint-{count}-"
    known = list(Feed.objects.filter(slug__startswith=prefix).order_by("pk"))
    if not known:
        connections, each = data.connections(SUBSCRIBERS), SUBSCRIBERS // count
        for number in range(count):
            feed = Feed.objects.create(
                slug=f"{prefix}{number}", name=f"endpoint {number} of {count}", owner=data.operator,
                is_approved=True,
            )  # fmt: skip
            data.subscribe(feed, connections[number * each : (number + 1) * each])
            known.append(feed)
        environment.sql("VACUUM ANALYZE")
    data.refresh()
    return known


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
        self._port, self._paths = port, paths
        self.forget()

    def forget(self) -> None:
        """Forget what was measured."""
        self.seconds: list[float] = []
        self.answered: list[float] = []
        self.refused: list[tuple[int, bytes]] = []

    def at_rate(self, rate: int, seconds: int) -> None:
        """Post alerts at a fixed rate, and wait for all answers."""
        asyncio.run(self._at_rate(rate, seconds))

    async def _at_rate(self, rate: int, seconds: int) -> None:
        free: list[_Connection] = []
        began = time.perf_counter()
        async with asyncio.TaskGroup() as posts:
            for number in range(rate * seconds):
                due = began + number / rate
                if (left := due - time.perf_counter()) > 0:
                    await asyncio.sleep(left)
                posts.create_task(self._post(number, due, free))
        for _, writer in free:
            writer.close()

    async def _post(self, number: int, due: float, free: "list[_Connection]") -> None:
        """Post one alert; measure from when it was due and from when it was sent."""
        fields = {
            "action": "OPEN", "symbol": PAIR, "direction": "BUY", "sl": str(SL), "tp": str(TP),
            "external_id": f"{os.getpid()}-{due}-{number}",
        }  # fmt: skip
        body = json.dumps(fields)
        path = self._paths[number % len(self._paths)]
        request = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        sent = time.perf_counter()
        head, answer = await self._exchange((request + body).encode(), free)
        now = time.perf_counter()
        self.seconds.append(now - due)
        self.answered.append(now - sent)
        status = int(head.split(None, 2)[1])
        if status != 202:
            self.refused.append((status, answer[:200]))

    async def _exchange(self, request: bytes, free: "list[_Connection]") -> tuple[bytes, bytes]:
        """Send a request; return the head and body of its answer."""
        while True:
            is_new = not free
            reader, writer = (
                await asyncio.open_connection("127.0.0.1", self._port) if is_new else free.pop()
            )
            try:
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
                break
            except (OSError, asyncio.IncompleteReadError):
                if is_new:
                    raise
                writer.close()  # it was closed while idle
        (length,) = re.findall(rb"(?i)content-length: (\d+)", head)
        answer = await reader.readexactly(int(length))
        free.append((reader, writer))
        return head, answer
