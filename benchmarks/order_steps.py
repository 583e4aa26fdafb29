"""What each step of an order costs, in this process and without any other: a microsecond shows.

In the whole stack the processor time of an order varies by a tenth from run to run, since caches,
locks and cores are shared. So the steps are called here one after the other, as the processes call
them: publication, claim of a bundle, the paper broker, its reports, and the routing of the events.
"""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from benchmarks import process_usage
from benchmarks.data import BenchData
from benchmarks.environment import BenchEnvironment, BenchError
from benchmarks.results import Result, bounded
from benchmarks.trading import publish_as_web, trade_history
from brokers.paper.order_intake import IncomingOrder, take_orders
from brokers.paper.reads import account_access
from brokers.types import OrderReport
from common.operational.current import settings_now
from common.process.gc_tuning import exclude_imports_from_gc
from events.routing import route_events
from execution.models import Order
from execution.reports.apply import apply_reports
from execution.submission.claim import claim
from execution.submission.outgoing import Outgoing

STEPS = ("publication", "claim", "paper broker", "reports", "events")
TARGET = 400.0  # µs of CPU of all steps, the events' apart
ROUNDS_EACH, EVENTS_AT_ONCE = 3, 2_000
T = TypeVar("T")


class Cost(NamedTuple):
    """Microseconds an order: of the clock, of this process's Python, of PostgreSQL's processor."""

    wall: float
    python: float
    postgres: float


class StepCosts:
    """What each step has cost, call by call."""

    def __init__(self, environment: BenchEnvironment) -> None:
        """Begin without any."""
        self._environment = environment
        self._of: dict[str, list[Cost]] = defaultdict(list)

    def of(self, step: str, orders: int, act: Callable[[], T]) -> T:
        """Call a step for so many orders and return what it returns."""
        postgres, began, spent = self._postgres(), time.perf_counter(), time.thread_time()
        found = act()
        wall, python = time.perf_counter() - began, time.thread_time() - spent
        took = Cost(wall, python, self._postgres() - postgres)
        self._of[step].append(Cost(*(1e6 * seconds / orders for seconds in took)))
        return found

    def medians(self) -> dict[str, Cost]:
        """Return the median cost of each step."""
        return {
            step: Cost(*(statistics.median(figures) for figures in zip(*costs, strict=True)))
            for step, costs in self._of.items()
        }

    def _postgres(self) -> float:
        pids = {"postgres": self._environment.pids()["postgres"]}
        return process_usage.run_seconds(pids)["postgres"]


def order_steps(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    """Measure the steps of signals to `count` paper accounts, whose prices are fresh."""
    environment.run(workers=1)
    with trade_history(environment, data, count):
        environment.run(workers=0)
        exclude_imports_from_gc(threshold=10_000)  # as trading processes do
        _execute(environment, data, count, StepCosts(environment))  # warm-up
        costs, began = StepCosts(environment), time.perf_counter()
        for _ in range(ROUNDS_EACH * environment.rounds):
            _execute(environment, data, count, costs)
        seconds = time.perf_counter() - began
    return _result(count, seconds, costs.medians())


def _execute(environment: BenchEnvironment, data: BenchData, count: int, costs: StepCosts) -> None:
    environment.reset()
    signal = data.signal(data.feed(count))
    costs.of("publication", count, lambda: publish_as_web(signal, data))
    ids = [*Order.objects.filter(signal=signal).order_by("pk").values_list("pk", flat=True)]
    for bundle in _bundles(ids):
        claimed = costs.of("claim", len(bundle), lambda: claim(bundle, worker_id="bench"))  # noqa: B023
        if len(claimed.outgoing) != len(bundle):
            raise BenchError(f"{len(claimed.outgoing)} of {len(bundle)} orders are sent")
        reports = costs.of("paper broker", len(bundle), lambda: _placed(claimed.outgoing))  # noqa: B023
        costs.of("reports", len(bundle), lambda: apply_reports(reports))  # noqa: B023
    costs.of("events", count, _route_all)


def _bundles(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    size = settings_now().execution.bundle_size
    return (ids[start : start + size] for start in range(0, len(ids), size))


def _placed(outgoing: Sequence[Outgoing]) -> list[OrderReport]:
    """Place orders at the paper broker and return its reports."""
    access = account_access({order.spec.account for order in outgoing})
    incoming = [
        IncomingOrder(access[order.spec.account].account_id, order.request) for order in outgoing
    ]
    answers = [reply.answer for reply in take_orders(incoming, lambda _: None) if reply]
    return [report for answer in answers if isinstance(answer, list) for report in answer]


def _route_all() -> None:
    while route_events(EVENTS_AT_ONCE):
        pass


def _result(count: int, seconds: float, costs: dict[str, Cost]) -> Result:
    path = [cost for step, cost in costs.items() if step != "events"]
    cpu = sum(cost.python + cost.postgres for cost in path)
    steps: dict[str, Any] = {step: costs[step]._asdict() for step in STEPS}
    return bounded(
        "order_steps", count, cpu, target=TARGET, seconds=seconds,
        rate=1e6 / sum(cost.wall for cost in path), unit="µs of CPU an order without its events",
        steps_us=steps,
    )  # fmt: skip
