"""Thirty minutes of trading beside tenants who read pages: does anything grow?

The stack is the one of `make up`. 2,000 accounts (1,600 paper, 200 at a broker over HTTP that
answers after 100 ms, 140 IBKR sessions, 60 MetaTrader terminals) are spread over 40 feeds; 100
tenants read a page each twenty seconds. Five signals a second are published, each to one feed: an
entry, and when the feed's turn comes again, eight seconds later, the exit of it. So 5 × 50 = 250
orders a second arrive, and each account trades once in sixteen seconds. What that takes of the
machine is in docs/performance.md: an order of so few accounts costs several times one of thousands.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from django.db import DatabaseError

from benchmarks import fanout, load_accounts, load_figures
from benchmarks.browsing import browsing
from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment, BenchError, report_progress
from benchmarks.load_accounts import Accounts, Mix
from benchmarks.load_samples import Sampler
from benchmarks.results import Result, machine
from benchmarks.session_doubles import Doubles, running
from benchmarks.slow_broker import broker_running
from common.database_errors import is_transient
from common.operational.source import VARIABLE, with_settings
from config.env import Settings
from config.installation import ROOT
from signals.models import Signal

SIGNALS_A_SECOND = 5
ATTEMPTS = 10
AUDIT_SECONDS = 90  # until all accounts have been read
SETTLE_SECONDS = 240.0  # two look-ups a minute apart, the lease, and the exit after them
SETTINGS = {"networks.broker_networks": ["127.0.0.0/8"]}
UNSETTLED = """
SELECT c.type, o.status, o.reason, count(*) FROM execution_order o
JOIN connections_executionconnection c ON c.id = o.connection_id
WHERE o.status IN ('PENDING', 'SUBMITTING', 'UNKNOWN', 'SUBMITTED', 'PARTIALLY_FILLED',
  'CANCEL_REQUESTED') GROUP BY 1, 2, 3
"""
OPEN_POSITIONS = "SELECT count(*) FROM positions_executionposition WHERE quantity > 0"


def load(environment: BenchEnvironment, data: BenchData, minutes: int) -> Result:
    """Run the load for so many minutes.

    BENCH_LOAD_SHARE, below 1: with this share of the accounts, and so of the orders a second.
    BENCH_LOAD_FEEDS, more than 40: all accounts, but fewer orders a second.
    """
    mix = Mix(feeds=int(os.environ.get("BENCH_LOAD_FEEDS", 40)))
    share = float(os.environ.get("BENCH_LOAD_SHARE", 1))
    return measure(environment, data, 60.0 * minutes, mix.share(share))


def measure(environment: BenchEnvironment, data: BenchData, seconds: float, mix: Mix) -> Result:
    """Run the load for so long over such a mix of accounts."""
    facts = machine()
    environment.run(workers=0)
    environment.reset()
    with ExitStack() as stack:
        doubles = stack.enter_context(_brokers(environment, mix))
        accounts = stack.enter_context(load_accounts.made(environment, data, mix, doubles))
        environment.run(workers=2)
        stack.callback(environment.run, workers=0)
        load_accounts.wait_ready(environment, accounts)
        data.refresh()
        result = _measured(environment, data, seconds, mix, accounts, facts)
    environment.reset()
    return result


@contextmanager
def _brokers(environment: BenchEnvironment, mix: Mix) -> Iterator[Doubles]:
    """Run all doubles; processes that start meanwhile may reach them."""
    environ = environment.stack.environ
    before = {name: environ.get(name) for name in (VARIABLE, "FILLCAST_MT4_ROOT")}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fillcast-bench-")))
        stack.enter_context(broker_running(environment))
        doubles = stack.enter_context(
            running(folder / "root", folder / "state", mix.ibkr, mix.mt4, mix.mt5)
        )
        environ |= {
            VARIABLE: with_settings(environ.get(VARIABLE, ""), SETTINGS),
            "FILLCAST_MT4_ROOT": str(folder / "root"),
        }
        try:
            yield doubles
        finally:
            for name, value in before.items():
                environ[name] = value or ""


def _measured(
    environment: BenchEnvironment,
    data: BenchData,
    seconds: float,
    mix: Mix,
    accounts: Accounts,
    facts: Mapping[str, Any],
) -> Result:
    port = int(Settings.read(environment.stack.environ).listen.port)
    path = environment.stack.folder.parent / "load.jsonl"
    database = environment.stack.environ["DATABASE_URL"]
    with (
        browsing(port, accounts.browsing) as browsers,
        Sampler(database, environment.pids, browsers, path, _describe) as sampler,
    ):
        late = _publish(data, accounts, sampler, seconds)
        open_orders = _settle(environment)
        sampler.stop()
    left = open_orders + int(environment.sql(OPEN_POSITIONS)[0][0])
    audit = _audit(environment)
    result = load_figures.result_of(environment, mix, sampler, late, audit, left, facts)
    written = {"result": load_figures.as_dict(result), "samples": sampler.samples}
    path.with_suffix(".json").write_text(json.dumps(written, separators=(",", ":")) + "\n")
    return result


def _audit(environment: BenchEnvironment) -> dict[str, Any]:
    """Return what `manage.py audit` finds, also if a counter is not 0: that is a figure, too."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "audit", "--json", "--wait", str(AUDIT_SECONDS)],
        env=environment.stack.environ, cwd=ROOT, text=True, stdout=subprocess.PIPE, check=False,
    )  # fmt: skip
    if not done.stdout:
        raise BenchError(f"the audit ended with {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    kept = {name: found[name] for name in ("ok", "signals", "candidates", "states", "counters")}
    return {**kept, "exit_code": done.returncode}


def _settle(environment: BenchEnvironment) -> int:
    """Wait until every order has ended; return how many have not, after some minutes."""
    try:
        environment.wait(environment.nothing_open, seconds=SETTLE_SECONDS, every=0.1)
    except BenchError as error:
        rows = environment.sql(UNSETTLED)
        report_progress(f"  {error}: {rows}")
        return sum(int(count) for *_, count in rows)
    return 0


def _publish(data: BenchData, accounts: Accounts, sampler: Sampler, seconds: float) -> list[float]:
    """Publish entries and exits; return by how many seconds each was late.

    Each entry has its exit. Every other feed begins a round later, so that entries and exits are
    always as many.
    """
    feeds, late = accounts.feeds, list[float]()
    entries: dict[int, Signal] = {}
    rounds = 2 * max(int(seconds * SIGNALS_A_SECOND) // (2 * len(feeds)), 1)
    sampler.start()
    for number in range((rounds + 1) * len(feeds)):
        round_number, place = divmod(number, len(feeds))
        if round_number == (0 if place % 2 else rounds):
            continue
        due = number / SIGNALS_A_SECOND
        if (left := due - sampler.seconds) > 0:
            time.sleep(left)
        late.append(max(sampler.seconds - due, 0.0))
        opened = entries.pop(place, None)
        signal = data.close(opened) if opened else data.signal(feeds[place])
        if opened is None:
            entries[place] = signal
        sampler.repeated += _publish_as_client(signal, data)
        sampler.published.append((sampler.seconds, signal.pk))
        sampler.expect_running()
    return late


def _publish_as_client(signal: Signal, data: BenchData) -> int:
    """Publish, and repeat what the database could not serve, as a client does; return how often."""
    for attempt in range(ATTEMPTS):
        try:
            fanout.publish_as_web(signal, data)
            return attempt
        except DatabaseError as error:
            if attempt + 1 == ATTEMPTS or not is_transient(error):
                raise
            report_progress(f"  published again after: {error}")
    return ATTEMPTS


def _describe(sample: dict[str, Any]) -> None:
    orders, pages = sample["orders"], sample["pages"]
    report_progress(
        f"  {sample['at']:6.0f} s: {sum(sample['mb'].values()):.0f} MB,"
        f" lag {sample['due_s']:.2f} s,"
        f" orders p50 {orders['all']['p50_ms']} p99 {orders['all']['p99_ms']} ms"
        f" {orders['states']}, {pages['count']} pages p99 {pages['p99_ms']} ms"
        f" ({pages['failed']} failed), load {sample['load']}"
    )
