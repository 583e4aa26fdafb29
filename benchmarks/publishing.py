"""The publish transaction and enqueueing, against a create() loop and a delay() loop."""

import time
from collections.abc import Callable

from django.db import transaction
from django.utils import timezone

from benchmarks.data import BenchData
from benchmarks.environment import EXECUTION, BenchEnvironment, BenchError
from benchmarks.results import Result, compared
from benchmarks.trading import as_web, publish_as_web
from connections.models import Subscription
from execution.models import Order
from execution.tasks import execute_signal
from signals.models import Signal
from users.tenancy import on_behalf_of

TARGET = 20.0


def publish(environment: BenchEnvironment, data: BenchData, count: int) -> Result:
    """Measure writing and enqueueing orders; no worker runs, so that nothing else is measured."""
    environment.run(workers=0)
    environment.reset()
    seconds, plain_seconds = [], []
    for number in range(environment.rounds + 1):
        ours, plain = (_timed(environment, data, count, way) for way in (publish_as_web, _plain))
        if number:  # the first is the warm-up
            seconds.append(ours)
            plain_seconds.append(plain)
    return compared(
        "publish", count=count, seconds=seconds, baseline="a create() loop and a delay() loop",
        baseline_count=count, baseline_seconds=plain_seconds, target=TARGET,
    )  # fmt: skip


def _timed(
    environment: BenchEnvironment, data: BenchData, count: int,
    way: Callable[[Signal, BenchData], None],
) -> float:  # fmt: skip
    """Return the seconds that one way to publish takes. Raises BenchError if orders are missing."""
    signal = data.signal(data.feed(count))
    start = time.perf_counter()
    way(signal, data)
    seconds = time.perf_counter() - start
    ((orders,),) = environment.sql("SELECT count(*) FROM execution_order")
    if orders != count or not environment.waiting(EXECUTION):
        raise BenchError(f"{count} connections, but {orders} orders were written")
    environment.reset()
    return seconds


def _plain(signal: Signal, data: BenchData) -> None:
    with as_web(), on_behalf_of(data.operator):
        Signal.objects.filter(pk=signal.pk, published_at=None).update(published_at=timezone.now())
        followers = Subscription.objects.filter(feed_id=signal.feed_id, archived_at=None)
        order_ids = [_create(signal, one) for one in followers.select_related("connection")]
        transaction.on_commit(lambda: _delay(order_ids))


def _create(signal: Signal, subscription: Subscription) -> int:
    return Order.objects.create(
        signal=signal, connection=subscription.connection, leg="entry", pair=signal.currency_pair,
        side=signal.direction, order_type=signal.order_type, time_in_force=signal.time_in_force,
        due_at=timezone.now(),
    ).pk  # fmt: skip


def _delay(order_ids: list[int]) -> None:
    for order_id in order_ids:
        execute_signal.apply_async(([order_id],), queue=EXECUTION)
