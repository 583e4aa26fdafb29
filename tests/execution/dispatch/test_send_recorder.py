"""What may have left is in the journal before its outcome counts, whatever its adapter does."""

from collections.abc import Callable

import pytest

from brokers.base import Guard, NotSent, OutcomeUnknown, Rejected
from brokers.types import ConnectionSpec, OrderReport, OrderRequest
from common.reason_codes import Code
from execution.dispatch import send_journal, send_recorder
from execution.models import Order
from execution.runtime.trading_runtime import TradingRuntime
from execution.services import execute
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

pytestmark = [pytest.mark.usefixtures("inline_commits", "alice")]
Submit = Callable[[OrderRequest], list[OrderReport]]


def recorded(trading: TradingRuntime) -> set[tuple[int, int]] | None:
    """Return what the process's journal has; None: it proves nothing."""
    path = trading._send_journal._path
    if path is None:
        return None
    with path.open("rb") as file:
        journal = send_journal._read(path, file.fileno())
    assert journal is not None
    return set(journal.sent)


@pytest.fixture
def answer(broker: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> Callable[[Submit], None]:
    """Let the adapter answer so, without its guard."""

    def answer_so(result: Submit) -> None:
        async def submit(
            spec: ConnectionSpec, request: OrderRequest, guard: Guard
        ) -> list[OrderReport]:
            return result(request)

        monkeypatch.setattr(broker, "submit", submit)

    return answer_so


def send(trading: TradingRuntime, *, earlier_sends: int = 0) -> Order:
    """Let an entry be sent, and its outcome be stored."""
    Order.objects.update(fence=earlier_sends)
    execute(factories.pending())
    assert trading.dispatcher.wait_idle(60)
    assert trading.report_writer.drain(60)
    return Order.objects.get()


@pytest.mark.parametrize("many", [False, True])
def test_order_that_the_adapter_already_knows_is_recorded(
    feed: Feed,
    trading: TradingRuntime,
    broker: FakeBroker,
    answer: Callable[[Submit], None],
    many: bool,
) -> None:
    broker.submit_many_at_once = many
    answer(broker.fill_at_once)
    factories.signal(feed)
    order = send(trading, earlier_sends=1)
    assert order.status == "FILLED"
    assert recorded(trading) == {(order.pk, 2)}


def test_adapter_that_sends_without_the_guard_ends_the_journal(
    feed: Feed,
    trading: TradingRuntime,
    broker: FakeBroker,
    answer: Callable[[Submit], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    answer(broker.fill_at_once)
    factories.signal(feed)
    assert send(trading).status == "FILLED"
    assert recorded(trading) is None
    assert "without the guard" in caplog.text


def fail(error: Exception) -> Submit:
    def raise_it(request: OrderRequest) -> list[OrderReport]:
        raise error

    return raise_it


@pytest.mark.parametrize(
    "error",
    [
        Rejected(Code.NO_MONEY),
        OutcomeUnknown(Code.REPLY_LOST),
        TimeoutError(),
        ZeroDivisionError("a bug of the adapter"),
    ],
)
def test_failure_before_the_guard_is_recorded(
    feed: Feed, trading: TradingRuntime, answer: Callable[[Submit], None], error: Exception
) -> None:
    answer(fail(error))
    factories.signal(feed)
    order = send(trading)
    assert recorded(trading) == {(order.pk, 1)}


def test_proof_that_nothing_left_is_not_recorded(
    feed: Feed, trading: TradingRuntime, answer: Callable[[Submit], None]
) -> None:
    answer(fail(NotSent(Code.BROKER_CLOCK)))
    factories.signal(feed)
    assert send(trading).status == "PENDING"
    assert recorded(trading) == set()


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("ours", [False, True])
def test_order_is_recorded_before_the_adapter_of_another_package_gets_it(
    feed: Feed,
    trading: TradingRuntime,
    broker: FakeBroker,
    monkeypatch: pytest.MonkeyPatch,
    many: bool,
    ours: bool,
) -> None:
    """Ours call the guard, and may wait long before they do."""
    monkeypatch.setattr(send_recorder, "is_built_in", lambda broker_type: ours)
    broker.submit_many_at_once = many
    at_entry: list[set[tuple[int, int]] | None] = []
    broker.on_call = lambda: at_entry.append(recorded(trading))
    factories.signal(feed)
    order = send(trading)
    assert at_entry == [set() if ours else {(order.pk, 1)}]
    assert recorded(trading) == {(order.pk, 1)}
