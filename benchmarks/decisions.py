"""What sizing and limits cost for each order, beside a plain formula. No I/O is measured."""

import time
from collections.abc import Callable
from cProfile import Profile
from decimal import ROUND_DOWN, Decimal
from typing import Any

from django.db import transaction

from benchmarks.data import SL, BenchData
from benchmarks.environment import BenchEnvironment, BenchError
from benchmarks.results import Result, compared
from benchmarks.trading import publish_as_web, store_current_quotes
from common.db.sql import rows
from connections.selectors import spec_from_row
from execution.models import Order
from execution.submission import claim_sql
from execution.submission.bundle_evaluation import (
    evaluate,
    load_account_context,
    load_evaluation_context,
)
from execution.submission.order_loading import load_orders
from execution.submission.outcomes import EvaluationContext, Intent
from execution.submission.rows import OrderRow

TARGET = 0.01  # at most 100 times the plain formula
# Limits that are never reached. Those that count what an account has sent are read by the claim.
WIDE: dict[str, Any] = {
    "max_quantity": Decimal(10_000_000), "max_trade_risk_percent": Decimal(50),
    "max_spread": Decimal(100), "max_price_deviation_percent": Decimal(50),
    "max_level_deviation_percent": Decimal(400), "max_symbol_exposure_percent": Decimal(10_000),
    "max_currency_exposure_percent": Decimal(10_000), "max_open_orders": 1_000,
    "max_orders_per_minute": 1_000, "max_daily_notional": Decimal(1_000_000_000),
    "allowed_symbols": ["EUR/*", "XAU/USD"],
}  # fmt: skip


def decisions(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    """Decide the entries of one signal by all limits, and size them by a formula."""
    ours, plain = list[tuple[float, float]](), list[tuple[float, float]]()
    environment.run(workers=0)
    data.feed(count)
    store_current_quotes(data)
    with data.presets_with(**WIDE):
        pending, context = _queued(data, count)
        for _ in range(environment.rounds + 1):
            ours.append(_ours(pending, context))
            plain.append(_timed(lambda: [_plain(row) for row in pending]))
        calls = _calls(lambda: _ours(pending, context))
        plain_calls = _calls(lambda: [_plain(row) for row in pending])
        environment.reset()
    cpu, plain_cpu = (min(cpu for _, cpu in side[1:]) for side in (ours, plain))
    return compared(
        "decisions", count=count, seconds=[wall for wall, _ in ours[1:]],
        baseline="one formula and three comparisons per order", baseline_count=count,
        baseline_seconds=[wall for wall, _ in plain[1:]], target=TARGET,
        cpu_us_an_order=1e6 * cpu / count, limits=len(WIDE), cpu_ratio=plain_cpu / cpu,
        calls_ratio=plain_calls / calls,
    )  # fmt: skip


def _queued(data: BenchData, count: int) -> tuple[list[OrderRow], EvaluationContext]:
    """Publish a signal to `count` accounts; return its entries and what they are decided by."""
    data.environment.reset()
    signal = data.signal(data.feed(count))
    publish_as_web(signal, data)
    ids = list(Order.objects.filter(signal=signal).values_list("pk", flat=True))
    with transaction.atomic():
        pending = load_orders(ids)
        signals = rows(claim_sql.SIGNALS, ([signal.pk],))
        return pending, load_evaluation_context(pending, {row.id: row for row in signals})


def _ours(pending: list[OrderRow], context: EvaluationContext) -> tuple[float, float]:
    """Return how long the decisions take. Raises BenchError if an entry is not allowed."""
    specs = {row.connection_id: spec_from_row(row) for row in pending}
    accounts = load_account_context(pending, specs, {})  # each entry is added to it
    decided: list[Any] = []
    seconds = _timed(lambda: decided.extend(evaluate(pending, context, accounts, specs)))
    refused = [decision for _, decision in decided if not isinstance(decision, Intent)]
    if refused:
        raise BenchError(f"{len(refused)} entries are not allowed, the first: {refused[0]}")
    return seconds


def _plain(row: OrderRow) -> Decimal:
    """Size an entry by the risk at its stop, and check three limits."""
    price, step, equity = Decimal("1.1001"), Decimal(1_000), row.equity or Decimal(0)
    risk = (row.terms.risk_percent or Decimal(1)) / 100 * equity
    quantity = (risk / (price - SL) / step).to_integral_value(ROUND_DOWN) * step
    if quantity < step or quantity * price > 30 * equity or risk > equity / 20:
        return Decimal(0)
    return quantity


def _timed(act: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds of the clock, and of this process's processor time."""
    began, spent = time.perf_counter(), time.process_time()
    act()
    return time.perf_counter() - began, time.process_time() - spent


def _calls(act: Callable[[], object]) -> int:
    """Return how many functions are called: the same number at every speed of the machine."""
    profile = Profile()
    profile.runcall(act)
    return sum(entry.callcount for entry in profile.getstats())
