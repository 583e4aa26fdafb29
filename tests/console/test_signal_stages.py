"""A signal's stages on its page: how many orders reached each, and after how long."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from common.web.formatting import duration
from console.queries import candidates
from execution import signal_stages
from execution.models import Order
from execution.signal_stages import Stages, stages_of
from signals.models import Signal
from tests.console.test_signal_page import address
from tests.execution.factories import without_triggers

Page = Callable[..., str]
START = datetime(2026, 11, 2, 12, 30, tzinfo=UTC)


def written_at(signal: Signal) -> None:
    """Give the nth order of a signal the times START + n ms, + 100 ms for each later stage."""
    orders = list(candidates.orders_of(signal).exclude(status="SKIPPED").order_by("pk"))
    for number, order in enumerate(orders):
        at = START + timedelta(milliseconds=number)
        order.enqueued_at, order.created_at = START, at
        for place, name in enumerate(("validated_at", "submitted_at", "acknowledged_at"), start=1):
            if getattr(order, name):
                setattr(order, name, at + timedelta(milliseconds=100 * place))
        if order.filled_at:
            order.filled_at = order.done_at = at + timedelta(milliseconds=400)
    names = ["enqueued_at", "created_at", *(name for name, _, _ in signal_stages.STAGES[2:])]
    with without_triggers():
        Order.objects.bulk_update(orders, names)


def found(signal: Signal) -> Stages:
    orders = candidates.orders_of(signal)
    return stages_of(orders, count=orders.count())


@pytest.fixture
def signal(world: dict[str, Any]) -> Signal:
    entries = Order.objects.filter(signal=world["signal"])
    with without_triggers():
        entries.filter(status="FILLED").update(filled_at=START, done_at=START, validated_at=START)
    written_at(world["signal"])
    published: Signal = world["signal"]
    return published


def test_each_stage_counts_its_orders_and_their_times(signal: Signal) -> None:
    stages = {stage.key: stage for stage in found(signal).stages}
    written, filled = stages["created"], stages["filled"]
    assert (written.count, written.p50, written.p99, written.last) == (93, 46, 92, 92)
    assert filled.count == Order.objects.filter(signal=signal, status="FILLED").count() == 70
    assert filled.last is not None
    assert 400 + 69 <= filled.last <= 400 + 92
    assert stages["enqueued"].p50 == written.p50, "a row is due when it is written, not before"
    assert list(stages) == [
        "created", "enqueued", "validated", "submitted", "acknowledged", "filled", "done",
    ]  # fmt: skip


def test_entry_that_a_route_wrote_a_minute_later_counts(signal: Signal) -> None:
    last = candidates.orders_of(signal).exclude(status="SKIPPED").order_by("-pk")[0]
    with without_triggers():
        Order.objects.filter(pk=last.pk).update(created_at=START + timedelta(seconds=60))
    written = found(signal).stages[0]
    assert (written.count, written.last) == (93, 60_000)


def test_large_signal_is_sampled_evenly(signal: Signal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal_stages, "MOST", 20)
    stages = found(signal)
    assert stages.every == 5
    assert 15 <= stages.orders <= 20
    assert stages.stages[0].last is not None
    assert stages.stages[0].last >= 88, "from the end of the queue, too"


def test_page_shows_the_stages_with_their_units(signal: Signal, client: Client, page: Page,
                                                world: dict[str, Any]) -> None:  # fmt: skip
    last = candidates.orders_of(signal).filter(status="FILLED").order_by("-pk")[0]
    with without_triggers():
        Order.objects.filter(pk=last.pk).update(filled_at=START + timedelta(seconds=95))
    client.force_login(world["operator"])
    html = page(address(signal))
    assert "Stage by stage" in html
    assert "93 orders, time since the first was written" in " ".join(html.split())
    assert "46 ms" in html
    assert "1 min 35 s" in html


def test_signal_without_orders_says_so(
    world: dict[str, Any], client: Client, page: Page
) -> None:  # fmt: skip
    client.force_login(world["operator"])
    with without_triggers():
        candidates.orders_of(world["signal"]).update(status="SKIPPED")
    assert "No orders to measure" in page(address(world["signal"]))


@pytest.mark.parametrize(
    ("ms", "text"),
    [(None, ""), (0.0, "0 ms"), (243.4, "243 ms"), (9_999.0, "9,999 ms"), (12_000.0, "12 s"),
     (95_000.0, "1 min 35 s")],
)  # fmt: skip
def test_duration_has_the_unit_that_fits(ms: float | None, text: str) -> None:
    assert duration(ms) == text
