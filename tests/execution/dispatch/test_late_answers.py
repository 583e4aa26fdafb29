"""Answers that arrive after their caller gave up, and consecutive calls of one order."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone

from brokers.base import NotSent, Rejected
from brokers.types import OrderRequest
from common.reason_codes import Code
from common.sealing import new_private_key
from connections.models import ExecutionConnection
from execution.models import Order
from execution.runtime.trading_runtime import TradingRuntime
from execution.services import execute
from signals.models import Feed
from tests.execution import factories
from tests.execution.dispatch.test_order_dispatcher import settle
from tests.execution.fake_broker import FakeBroker
from tests.until import until

pytestmark = pytest.mark.usefixtures("inline_commits")


def late_answer(
    broker: FakeBroker, ended: threading.Event, answer: Callable[[OrderRequest], Any]
) -> Any:
    """A submit_many that answers after the caller has given up."""

    async def submit_many(requests: Any, guard: Any, on_outcome: Any) -> None:
        await asyncio.to_thread(ended.wait, 10)
        for _, request in requests:
            on_outcome(request, answer(request))

    broker.submit_many_at_once = True
    return submit_many


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("answer", "status"),
    [("fill", "FILLED"), ("reject", "REJECTED"), ("not sent", "UNKNOWN")],
)
def test_facts_count_after_a_time_out_and_decisions_do_not(
    alice: ExecutionConnection, feed: Feed, trading: TradingRuntime, broker: FakeBroker,
    monkeypatch: pytest.MonkeyPatch, answer: str, status: str,
) -> None:  # fmt: skip
    answers: dict[str, Callable[[OrderRequest], Any]] = {
        "fill": broker.fill_at_once,
        "reject": lambda _: Rejected(Code.NO_MONEY),
        "not sent": lambda _: NotSent(Code.NOT_CONNECTED),
    }
    ended = threading.Event()
    monkeypatch.setattr(broker, "submit_many", late_answer(broker, ended, answers[answer]))
    monkeypatch.setattr(trading.dispatcher, "_call_timeout", lambda: -4.5)
    factories.signal(feed)
    execute(factories.pending())
    settle(trading)
    order = Order.objects.get()
    assert (order.status, order.reason) == ("UNKNOWN", "REPLY_LOST")
    ended.set()
    until(lambda: not trading.dispatcher._tasks)
    assert trading.report_writer.drain(30)
    order.refresh_from_db()
    assert order.status == status


@pytest.mark.django_db(transaction=True)
def test_late_rejection_is_stored_without_secrets(
    feed: Feed,
    trading: TradingRuntime,
    broker: FakeBroker,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (new_private_key(),)
    account = factories.account(feed)
    account.set_credentials({"api_key": "AKEY123456789"})
    account.save()
    ended = threading.Event()
    refused = Rejected(Code.NO_MONEY, "no money for AKEY123456789")
    monkeypatch.setattr(broker, "submit_many", late_answer(broker, ended, lambda _: refused))
    monkeypatch.setattr(trading.dispatcher, "_call_timeout", lambda: -4.5)
    factories.signal(feed)
    execute(factories.pending())
    settle(trading)
    assert Order.objects.get().status == "UNKNOWN"
    ended.set()
    until(lambda: Order.objects.get().status == "REJECTED")
    assert Order.objects.get().detail == "no money for ***"


def test_next_call_of_an_order_leaves_slot_and_deadline_of_the_earlier_one(
    alice: ExecutionConnection, feed: Feed, trading: TradingRuntime, broker: FakeBroker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """As on a suspended machine: timers stopped, and another process sent the order again."""
    answers = [asyncio.Event(), asyncio.Event()]
    fences: list[int] = []

    async def submit(spec: Any, request: OrderRequest, guard: Any) -> Any:
        fences.append(request.fence)
        await answers[len(fences) - 1].wait()
        raise NotSent(Code.NOT_CONNECTED)

    monkeypatch.setattr(broker, "submit", submit)
    factories.signal(feed)
    execute(factories.pending())
    until(lambda: len(fences) == 1)
    Order.objects.update(status="PENDING", due_at=timezone.now())
    execute(factories.pending())
    until(lambda: len(fences) == 2)
    assert trading.dispatcher.in_flight == 2
    trading.dispatcher.loop.call_soon_threadsafe(answers[0].set)
    until(lambda: trading.dispatcher.in_flight == 1)
    assert (
        Order.objects.get().status == "SUBMITTING"
    )  # the outcome of the earlier call does not count
    trading.dispatcher.loop.call_soon_threadsafe(answers[1].set)
    settle(trading)
    order = Order.objects.get()
    assert (order.status, order.reason) == ("PENDING", "NOT_CONNECTED")
    assert (
        trading.dispatcher.in_flight,
        trading.dispatcher._dispatched_lanes,
        trading.dispatcher._calls,
    ) == (0, {}, {})


def test_call_of_a_slow_account_starts_outside_the_slots_of_others(
    feed: Feed, trading: TradingRuntime, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, quick = factories.account(feed), factories.account(feed)
    answer, begun = asyncio.Event(), list[str]()

    async def submit(spec: Any, request: OrderRequest, guard: Any) -> Any:
        begun.append(request.connection_id)
        await answer.wait()
        raise NotSent(Code.NOT_CONNECTED)

    monkeypatch.setattr(broker, "submit", submit)
    trading.dispatcher.latency.slow.add(str(slow.pk))
    factories.signal(feed)
    execute(factories.pending())
    until(lambda: sorted(begun) == sorted(str(one.pk) for one in (slow, quick)))
    began_aside = {
        call.outgoing.request.connection_id: call.has_yielded_slot
        for call in trading.dispatcher._calls.copy().values()
    }
    trading.dispatcher.loop.call_soon_threadsafe(answer.set)
    settle(trading)
    assert began_aside == {str(slow.pk): True, str(quick.pk): False}
    assert (trading.dispatcher.in_flight, trading.dispatcher.slots.free_for_slow) == (
        0, trading.dispatcher.slots.size // 4,
    )  # fmt: skip
