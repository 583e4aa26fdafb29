"""Thirty minutes of trading beside tenants who read pages: does anything grow?

The stack is the one of `make up`. 2,000 accounts (1,600 paper, 200 at a broker over HTTP that
answers after 100 ms, 140 IBKR sessions, 60 MetaTrader terminals) are spread over 40 feeds; 100
tenants read a page each twenty seconds. Five signals a second are published, each to one feed: an
entry, and when the feed's turn comes again, eight seconds later, the exit of it. So 5 × 50 = 250
orders a second arrive, and each account trades once in sixteen seconds.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.db import DatabaseError

from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment, BenchError, report_progress
from benchmarks.load_accounts import Accounts, Mix, load_accounts
from benchmarks.load_samples import Sampler, bars_of, memory_of, settled
from benchmarks.programs import Program
from benchmarks.results import Result, bounded, machine, percentile
from benchmarks.trading import publish_as_web
from common.db.errors import is_transient
from config.env import Settings
from config.installation import ROOT
from signals.models import Signal

SIGNALS_A_SECOND = 5
ATTEMPTS = 10
AUDIT_SECONDS = 90  # until all accounts have been read
SETTLE_SECONDS = 240.0  # two look-ups a minute apart, the lease, and the exit after them
UNFILLED_SHARE = 0.01  # an overloaded stack lets entries expire, rightly: that is no load carried
COUNTS = """
SELECT c.type || ' ' || o.status || ' ' || o.reason, count(*) FROM execution_order o
JOIN connections_executionconnection c ON c.id = o.connection_id GROUP BY 1 ORDER BY 2 DESC
"""
WRONG = """
SELECT (SELECT coalesce(sum(candidate_count), 0) FROM signals_signal s
    WHERE action = 'OPEN' AND EXISTS (SELECT FROM execution_order WHERE signal_id = s.id)),
  count(*) FILTER (WHERE leg LIKE 'entry%'),
  count(DISTINCT (signal_id, connection_id)) FILTER (WHERE leg LIKE 'entry%'),
  count(*), count(*) FILTER (WHERE status = 'FILLED'), count(*) FILTER (WHERE done_at IS NULL),
  (SELECT count(*) FROM positions_executionposition WHERE quantity > 0)
FROM execution_order
"""


def load(environment: BenchEnvironment, data: BenchData, minutes: int) -> Result:
    """Run the load for so many minutes.

    BENCH_LOAD_SHARE, below 1: with this share of the accounts, and so of the orders a second.
    """
    mix = Mix().share(float(os.environ.get("BENCH_LOAD_SHARE", 1)))
    facts = machine()
    environment.run(workers=0)
    environment.reset()
    port = Settings.read(environment.stack.environ).listen.port
    with (
        load_accounts(environment, data, mix) as accounts,
        Program("benchmarks.page_readers", port, settings.SESSION_COOKIE_NAME) as readers,
    ):
        readers.write(accounts.browsing)
        with Sampler(environment, readers) as sampler:
            late = _publish(data, accounts, sampler, 60.0 * minutes)
            _settle(environment)
            sampler.stop()
        result = _result(environment, mix, sampler, late, facts)
    written = {"result": asdict(result), "samples": sampler.samples}
    path = environment.stack.folder.parent / "load.json"
    path.write_text(json.dumps(written, separators=(",", ":")) + "\n")
    environment.reset()
    return result


def _publish(data: BenchData, accounts: Accounts, sampler: Sampler, seconds: float) -> list[float]:
    """Publish entries and exits; return by how many seconds each was late.

    Each entry has its exit. Every other feed begins a round later, so that entries and exits are
    always as many.
    """
    feeds, late = accounts.feeds, list[float]()
    entries: dict[int, Signal] = {}
    rounds = 2 * max(int(seconds * SIGNALS_A_SECOND) // (2 * len(feeds)), 1)
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
        _publish_as_client(signal, data)
        sampler.published.append((sampler.seconds, signal.pk))
        sampler.expect_running()
    return late


def _publish_as_client(signal: Signal, data: BenchData) -> None:
    """Publish, and repeat what the database could not serve, as a client does."""
    for attempt in range(ATTEMPTS):
        try:
            publish_as_web(signal, data)
            return
        except DatabaseError as error:
            if attempt + 1 == ATTEMPTS or not is_transient(error):
                raise
            report_progress(f"  published again after: {error}")


def _settle(environment: BenchEnvironment) -> None:
    try:
        environment.wait(environment.nothing_open, seconds=SETTLE_SECONDS, every=0.1)
    except BenchError as error:
        report_progress(f"  {error}")


def _result(
    environment: BenchEnvironment, mix: Mix, sampler: Sampler, late: list[float],
    facts: dict[str, Any],
) -> Result:  # fmt: skip
    samples, audit = settled(sampler.samples), _audit(environment)
    pages = [ms for at, ms in sampler.pages if at > samples[0]["at"]]
    ((candidates, entries, each_once, orders, filled, *left),) = environment.sql(WRONG)
    counted = sum(int(number) for number in audit["counters"].values())
    wrong = abs(candidates - entries) + (entries - each_once) + sum(left) + counted
    bars = bars_of(samples, pages) | {
        "failed_pages": (float(sampler.failed_pages), 0.5),
        "orders_not_each_once": (float(wrong), 0.5),
        "unfilled_share": (1 - filled / orders if orders else 1.0, UNFILLED_SHARE),
    }
    return bounded(
        "load", round(sampler.samples[-1]["at"] / 60),
        max(0.001, *(value / bar for value, bar in bars.values())), target=1.0,
        seconds=sampler.samples[-1]["at"], items=orders, unit="the worst figure by its bar",
        bars={name: {"value": value, "bar": bar} for name, (value, bar) in bars.items()},
        memory_mb=memory_of(samples)._asdict(), late_p99_s=percentile(late, 99),
        candidates=candidates, entries=entries,
        counts=dict(environment.sql(COUNTS)), audit=audit, accounts=asdict(mix), machine=facts,
    )  # fmt: skip


def _audit(environment: BenchEnvironment) -> dict[str, Any]:
    """Return what `manage.py audit` finds, also if a counter is not 0: that is a figure, too."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "audit", "--json", "--wait", str(AUDIT_SECONDS)],
        env=environment.stack.environ, cwd=ROOT, text=True, stdout=subprocess.PIPE, check=False,
    )  # fmt: skip
    if not done.stdout:
        raise BenchError(f"the audit ended with {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {name: found[name] for name in ("ok", "candidates", "states", "counters")}
