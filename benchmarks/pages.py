"""Pages of the portal and the console, and lists of the API, with a million finished orders.

Each is asked for through the whole application: middleware, row security of the web role,
templates. Usual tenants (five accounts) ask, a large one (a hundred accounts, ten thousand trades),
and an operator for the console's. The baseline are the usual tenants' requests before the orders
were written, so that the ratio states what history costs.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.test import Client

from analytics.services import compute_changed
from benchmarks import console_pages
from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment, BenchError, report_progress
from benchmarks.results import Baseline, Result, bounded, percentile
from benchmarks.trading import as_web
from connections.models import ExecutionConnection
from positions.models import ExecutionPosition
from tests.statements import sent_statements
from users.models import User

ACCOUNTS, LARGE, CHUNK = 10_000, 100, 100_000
TARGET_MS, CONSOLE_MS = 100.0, 300.0
MOST_GROWTH = 2.0  # of the time, from one order for each account to all of them
USUAL_TENANTS, TRIES_OF_LARGE, TRIES_OF_CONSOLE = 8, 4, 3
FEWEST = LARGE + 5 * USUAL_TENANTS

# {signal}, {position} and {account} are the tenant's own; the feed is the one that all take.
PAGES = (
    "/", "/signals/", "/signals/{signal}/", "/orders/", "/positions/", "/positions/{position}/",
    "/results/", "/results/?period=all", "/results/execution/", "/results/definitions/",
    "/history/orders/", "/history/signals/", "/history/trades/", "/accounts/",
    "/accounts/{account}/", "/accounts/{account}/symbols/", "/presets/", "/feeds/",
    "/feeds/{feed}/", "/feeds/{feed}/proof/", "/publishing/", "/inbox/", "/first-steps/",
    "/keys/", "/channels/", "/security/",
)  # fmt: skip
LISTS = (
    "me", "orders", "positions", "signals", "connections", "subscriptions", "feeds", "presets",
    "notifications", "execution-logs", "drift", "cash-flows", "loss-limits", "trading-pauses",
    "kill-switch", "channels", "api-keys", "data-connections", "analytics", "analytics/equity",
    "analytics/execution", "analytics/statistics", "analytics/breakdown?by=feed", "trail",
    "history/orders", "history/trades", "history/signals",
)  # fmt: skip
EACH = """
FROM generate_series(%(from)s::bigint, %(to)s::bigint) g,
  (SELECT %(ids)s::uuid[] AS ids) c, (SELECT %(signals)s::bigint[] AS ids) s,
  LATERAL (SELECT now() - make_interval(hours => 8 * (1 + g / %(accounts)s)::int) AS at) t
"""
ORDERS = """
INSERT INTO execution_order (connection_id, signal_id, leg, pair, symbol, side, order_type,
  time_in_force, quantity, filled_quantity, avg_fill_price, expected_price, slippage_pips,
  slippage_unit, conversion_rate, status, client_order_id, broker_order_id, worker_id, answer_by,
  created_at, submitted_at, acknowledged_at, filled_at, done_at)
SELECT c.ids[1 + g %% %(accounts)s], s.ids[1 + g / %(accounts)s], 'entry', 'EUR/USD',
  'EURUSD', 'BUY', 'MARKET', 'GTC', 1000, 1000, 1.1, 1.1, 0.1, 'PIPS', 1, 'FILLED',
  'done' || lpad(g::text, 12, '0'), g::text, 'worker', t.at, t.at, t.at, t.at, t.at, t.at
"""
TRADES = """
INSERT INTO positions_executionposition (connection_id, signal_id, pair, symbol, side, quantity,
  opened_quantity, entry_price, sl_guardian, tp_guardian, price_source_id, pip, conversion_rate,
  realized_pnl, commission, close_reason, opened_at, last_activity_at, closed_at)
SELECT c.ids[1 + g %% %(accounts)s], s.ids[1 + g / %(accounts)s], 'EUR/USD', 'EURUSD', 'BUY', 0,
  1000, 1.1, '', '', %(source)s, 0.0001, 1, (g * 37 %% 401 - 190) / 10.0, 0.35, 'tp', t.at,
  t.at + interval '1 hour', t.at + interval '1 hour'
"""


@dataclass(slots=True)
class Measured:
    milliseconds: list[float] = field(default_factory=list)
    queries: int = 0

    @property
    def median(self) -> float:
        """The median of its milliseconds: single ones count other work of the machine."""
        return percentile(self.milliseconds, 50)


Found = dict[str, Measured]  # by address


def pages(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    """Measure each page and list before and after `count` orders and trades are written.

    Fewer orders than ACCOUNTS have as many accounts; each account has one at least.
    """
    environment.run(workers=0)
    environment.reset()
    accounts = max(min(count, ACCOUNTS), FEWEST)
    count = max(count, accounts)
    with many_orders(environment, data, accounts, count) as history:
        history.write(accounts)
        before = history.measure()
        history.write(count)
        after, of_large = history.measure(), history.measure_large()
        console = history.measure_console()
    return _result(count, before, after, of_large, console)


class History:
    """Finished orders and trades, and the tenants who ask for them."""

    def __init__(
        self, environment: BenchEnvironment, data: BenchData, accounts: int, most: int
    ) -> None:
        self._environment, self._data, self._written = environment, data, 0
        ids, self._feed = data.connections(accounts), data.feed(accounts)
        signals = data.published_signals(
            self._feed, -(-most // accounts), strategy="pages", apart=timedelta(hours=8)
        )
        self._shared = {"ids": ids, "accounts": accounts, "signals": signals,
                        "source": data.source.pk}  # fmt: skip
        self._large = User.objects.create(username="large tenant")
        ExecutionConnection.objects.filter(pk__in=ids[-LARGE:]).update(user=self._large)
        owners = ExecutionConnection.objects.filter(pk__in=ids[: 5 * USUAL_TENANTS])
        usual = User.objects.filter(pk__in=owners.values("user"))
        self._usual = [*usual.order_by("pk")[:USUAL_TENANTS]]
        settings.ALLOWED_HOSTS = ["*"]

    def write(self, count: int) -> None:
        """Write orders and their trades until there are `count`."""
        began = time.perf_counter()
        for start in range(self._written, count, CHUNK):
            part = {**self._shared, "from": start, "to": min(start + CHUNK, count) - 1}
            self._environment.sql(ORDERS + EACH, part)
            self._environment.sql(TRADES + EACH, part)
        self._written = max(count, self._written)
        compute_changed()
        self._environment.sql("VACUUM ANALYZE")
        self._data.refresh()
        took = time.perf_counter() - began
        report_progress(f"  {count:,} orders and their trades written in {took:.0f} s")

    def measure(self) -> Found:
        self._of_tenants(self._usual[:1])  # imports modules, compiles templates
        return self._of_tenants(self._usual)

    def measure_large(self) -> Found:
        return self._of_tenants([self._large] * TRIES_OF_LARGE)

    def measure_console(self) -> Found:
        console_pages.compute_execution()
        own, found = console_pages.shown(), Found()
        _measure_as(self._data.operator, console_pages.PAGES, own, {})  # warm-up
        for _ in range(TRIES_OF_CONSOLE):
            _measure_as(self._data.operator, console_pages.PAGES, own, found)
        return found

    def _of_tenants(self, users: Sequence[User]) -> Found:
        found = Found()
        for user in users:
            trade = ExecutionPosition.objects.filter(connection__user=user).latest("pk")
            own = {"signal": trade.signal_id, "position": trade.pk,
                   "account": trade.connection_id, "feed": self._feed.slug}  # fmt: skip
            _measure_as(user, (*PAGES, *map(_api, LISTS)), own, found)
        return found


@contextmanager
def many_orders(
    environment: BenchEnvironment, data: BenchData, accounts: int, most: int
) -> Iterator[History]:
    """Within: orders of so many accounts can be written, at most `most`."""
    try:
        yield History(environment, data, max(accounts, FEWEST), most)
    finally:
        environment.reset()
        environment.sql("DELETE FROM signals_signal WHERE strategy_id = 'pages'")


def _measure_as(user: User, addresses: Iterable[str], own: dict[str, Any], found: Found) -> None:
    client = Client()
    client.force_login(user)
    for address in addresses:
        _ask(client, address, address.format(**own), found.setdefault(address, Measured()))


def _api(name: str) -> str:
    path, _, query = name.partition("?")
    return f"/api/v1/{path}/" + (f"?{query}" if query else "")


def _ask(client: Client, address: str, path: str, measured: Measured) -> None:
    with as_web(), sent_statements() as sent:
        began = time.perf_counter()
        response = client.get(path)
        body = b"".join(response) if response.streaming else response.content
        milliseconds = 1000 * (time.perf_counter() - began)
    if response.status_code != 200 or not body:
        raise BenchError(f"{address}: status {response.status_code}")
    measured.milliseconds.append(milliseconds)
    measured.queries = max(measured.queries, len(sent))


def _result(count: int, before: Found, after: Found, of_large: Found, console: Found) -> Result:
    took = [found.median for found in after.values()]
    base = sum(found.median for found in before.values())
    usual = {f"{name}, large tenant": found for name, found in of_large.items()} | after
    slow = {name: _figures(of) for pages, target_ms in ((usual, TARGET_MS), (console, CONSOLE_MS))
            for name, of in pages.items()
            if of.median > target_ms or of.queries > console_pages.MOST_QUERIES}  # fmt: skip
    return bounded(
        "pages", count, sum(took) / base, target=MOST_GROWTH, also=not slow,
        seconds=sum(took) / 1000, items=len(took), times_ms=took,
        baseline=Baseline("the same with one order for each account", base / 1000,
                          1000 * len(took) / base),
        slowest_ms=max(took), target_ms=TARGET_MS,
        slowest_of_console_ms=max(of.median for of in console.values()),
        console_target_ms=CONSOLE_MS,
        most_queries=max(of.queries for of in (usual | console).values()), over=slow,
        pages={name: _figures(of) for name, of in (usual | console).items()},
    )  # fmt: skip


def _figures(found: Measured) -> dict[str, float]:
    return {"ms": round(found.median, 1), "queries": found.queries}
