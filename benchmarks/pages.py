"""Pages of the portal and lists of the API, with a million finished orders in the tables.

Each is asked for by several tenants through the whole application: middleware, row security of the
web role, templates. Two kinds of tenant ask: a usual one (five accounts) and a large one (a hundred
accounts, ten thousand trades). The baseline are the same requests before the orders were written,
so that the ratio tells how much history costs on any machine.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db import connection
from django.test import Client
from django.utils import timezone

from analytics.services import compute_changed
from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment, BenchError, report_progress
from benchmarks.results import Baseline, Result, percentile
from common.sql import run
from connections.models import ExecutionConnection
from positions.models import ExecutionPosition
from signals.models import Feed
from users.models import User

ACCOUNTS, LARGE, CHUNK = 10_000, 100, 100_000
TARGET_MS, MOST_QUERIES = 100.0, 12
USUAL_TENANTS, TRIES_OF_LARGE = 8, 4

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
    "analytics/execution", "analytics/statistics", "analytics/breakdown?table=feed", "trail",
    "history/orders", "history/trades", "history/signals",
)  # fmt: skip

SIGNALS = """
INSERT INTO signals_signal (feed_id, action, currency_pair, direction, order_type, target_prices,
  target_fractions, close_fraction, time_in_force, strategy_id, trade_plan_id, risk_category,
  content_hash, origin, note, approval, published_at)
SELECT %s, 'OPEN', 'EUR/USD', 'BUY', 'MARKET', '{1.11}', '{1}', 1, 'GTC', 'pages', '', 'normal', '',
  'HAND', '', 'APPROVED', now() - make_interval(hours => 8 * g::int) FROM generate_series(1, %s) g
"""
ORDERS = """
INSERT INTO execution_order (connection_id, signal_id, leg, pair, symbol, side, order_type,
  time_in_force, quantity, filled_quantity, avg_fill_price, expected_price, slippage_pips,
  slippage_unit, conversion_rate, status, client_order_id, broker_order_id, worker_id, answer_by,
  created_at, submitted_at, acknowledged_at, filled_at, done_at)
SELECT c.ids[1 + g %% %(accounts)s], s.ids[1 + g / %(accounts)s], 'entry', 'EUR/USD',
  'EURUSD', 'BUY', 'MARKET', 'GTC', 1000, 1000, 1.1, 1.1, 0.1, 'PIPS', 1, 'FILLED',
  'done' || lpad(g::text, 12, '0'), g::text, 'worker', t.at, t.at, t.at, t.at, t.at, t.at
FROM generate_series(%(from)s::bigint, %(to)s::bigint) g,
  (SELECT %(ids)s::uuid[] AS ids) c, (SELECT %(signals)s::bigint[] AS ids) s,
  LATERAL (SELECT now() - make_interval(hours => 8 * (1 + g / %(accounts)s)::int) AS at) t
"""
TRADES = """
INSERT INTO positions_executionposition (connection_id, signal_id, pair, symbol, side, quantity,
  opened_quantity, entry_price, sl_guardian, tp_guardian, price_source_id, pip, conversion_rate,
  realized_pnl, commission, close_reason, opened_at, last_activity_at, closed_at)
SELECT c.ids[1 + g %% %(accounts)s], s.ids[1 + g / %(accounts)s], 'EUR/USD', 'EURUSD', 'BUY', 0,
  1000, 1.1, '', '', %(source)s, 0.0001, 1, (g * 37 %% 401 - 190) / 10.0, 0.35, 'tp', t.at,
  t.at + interval '1 hour', t.at + interval '1 hour'
FROM generate_series(%(from)s::bigint, %(to)s::bigint) g,
  (SELECT %(ids)s::uuid[] AS ids) c, (SELECT %(signals)s::bigint[] AS ids) s,
  LATERAL (SELECT now() - make_interval(hours => 8 * (1 + g / %(accounts)s)::int) AS at) t
"""


@dataclass(slots=True)
class Measured:
    """What the requests of one address took."""

    milliseconds: list[float] = field(default_factory=list)
    queries: int = 0


def pages(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    """Measure each page and list before and after `count` orders and trades are written."""
    environment.run(workers=0)
    environment.reset()
    ids = data.connections(ACCOUNTS)
    feed = data.feed(ACCOUNTS)
    signals = [pk for (pk,) in environment.sql(f"{SIGNALS} RETURNING id", feed.pk,
                                               -(-count // ACCOUNTS))]  # fmt: skip
    usual, large = _tenants(ids)
    settings.ALLOWED_HOSTS = ["*"]
    _write(environment, data, signals, min(count, ACCOUNTS), "one order for each account")
    before = _measure(usual, large, feed)
    _write(environment, data, signals, count, f"{count:,} orders", first=min(count, ACCOUNTS))
    compute_changed()
    environment.sql("VACUUM ANALYZE")
    after = _measure(usual, large, feed)
    environment.reset()
    environment.sql("DELETE FROM signals_signal WHERE strategy_id = 'pages'")
    return _result(count, before, after)


def _tenants(ids: Sequence[Any]) -> tuple[list[User], User]:
    """Return tenants of five accounts, and one who gets a hundred."""
    large = User.objects.create(username="large tenant")
    ExecutionConnection.objects.filter(pk__in=ids[-LARGE:]).update(user=large)
    owners = ExecutionConnection.objects.filter(pk__in=ids[: 5 * USUAL_TENANTS])
    usual = User.objects.filter(pk__in=owners.values("user"))
    return list(usual.order_by("pk")[:USUAL_TENANTS]), large


def _write(
    environment: BenchEnvironment, data: BenchData, signals: Sequence[int], count: int, what: str,
    *, first: int = 0,
) -> None:  # fmt: skip
    began = time.perf_counter()
    shared = {"ids": data.connections(ACCOUNTS), "accounts": ACCOUNTS, "signals": signals,
              "source": data.source.pk}  # fmt: skip
    for start in range(first, count, CHUNK):
        part = {**shared, "from": start, "to": min(start + CHUNK, count) - 1}
        environment.sql(ORDERS, part)
        environment.sql(TRADES, part)
    environment.sql("VACUUM ANALYZE")
    data.refresh()
    report_progress(f"  {what} and their trades written in {time.perf_counter() - began:.0f} s")


def _measure(usual: Sequence[User], large: User, feed: Feed) -> dict[str, Measured]:
    found: dict[str, Measured] = {}
    addresses = [*PAGES, *(_api(name) for name in LISTS)]
    for user, tries in [(usual[0], 1), *((user, 1) for user in usual), (large, TRIES_OF_LARGE)]:
        client = Client()
        client.force_login(user)
        own = _own(user, feed)
        for address in addresses:
            for _ in range(tries):
                _ask(client, address, address.format(**own), found.setdefault(address, Measured()))
        if user is usual[0] and tries == 1 and len(found[addresses[0]].milliseconds) == 1:
            found = {}  # the first tenant's first round imports modules and compiles templates
    return found


def _api(name: str) -> str:
    path, _, query = name.partition("?")
    return f"/api/v1/{path}/" + (f"?{query}" if query else "")


def _own(user: User, feed: Feed) -> dict[str, Any]:
    account = ExecutionConnection.objects.filter(user=user).order_by("pk").first()
    trade = ExecutionPosition.objects.filter(connection=account).order_by("-pk").first()
    if account is None or trade is None:
        raise BenchError(f"{user} has no account with a trade")
    return {"signal": trade.signal_id, "position": trade.pk, "account": account.pk,
            "feed": feed.slug}  # fmt: skip


def _ask(client: Client, address: str, path: str, measured: Measured) -> None:
    with _web_role(), _queries() as sent:
        began = time.perf_counter()
        response = client.get(path)
        body = b"".join(response) if response.streaming else response.content
        milliseconds = 1000 * (time.perf_counter() - began)
    if response.status_code != 200 or not body:
        raise BenchError(f"{address}: status {response.status_code}")
    measured.milliseconds.append(milliseconds)
    measured.queries = max(measured.queries, len(sent))


@contextmanager
def _web_role() -> Iterator[None]:
    run("SET ROLE fillcast_web")
    try:
        yield
    finally:
        run("RESET ROLE")


@contextmanager
def _queries() -> Iterator[list[str]]:
    """Count what is sent to the database, without what opens and names a transaction."""
    sent: list[str] = []

    def note(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        if not sql.startswith(("SAVEPOINT", "RELEASE", "SELECT set_config", "SET ")):
            sent.append(sql)
        return execute(sql, *rest)

    with connection.execute_wrapper(note):
        yield sent


def _result(count: int, before: dict[str, Measured], after: dict[str, Measured]) -> Result:
    middle = {name: percentile(found.milliseconds, 50) for name, found in after.items()}
    usual = {name: percentile(found.milliseconds, 50) for name, found in before.items()}
    slowest = {name: percentile(found.milliseconds, 99) for name, found in after.items()}
    over = {
        name: {"p50_ms": round(middle[name], 1), "p99_ms": round(slowest[name], 1),
               "queries": found.queries, "before_ms": round(usual[name], 1)}
        for name, found in after.items()
        if slowest[name] > TARGET_MS or found.queries > MOST_QUERIES
    }  # fmt: skip
    ratio = sum(middle.values()) / sum(usual.values())
    worst = max(slowest.values())
    return Result(
        name="pages",
        n=count,
        seconds=sum(middle.values()) / 1000,
        rate=1000 * len(middle) / sum(middle.values()),
        p50_ms=percentile(list(middle.values()), 50),
        p99_ms=worst,
        baseline=Baseline("the same with one order for each account", sum(usual.values()) / 1000,
                          1000 * len(usual) / sum(usual.values())),
        ratio=ratio,
        target=TARGET_MS,
        ok=not over,
        half=worst <= 2 * TARGET_MS,
        detail={"measured_at": timezone.now().isoformat(timespec="seconds"), "over": over,
                "most_queries": max(found.queries for found in after.values()),
                "p50_ms": {name: round(value, 1) for name, value in middle.items()}},
    )  # fmt: skip
