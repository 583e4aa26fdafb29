"""From a bundle to the broker through a provider: bundles, threads, death, and neighbours."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal as D
from importlib.metadata import EntryPoint
from types import SimpleNamespace
from typing import Any

import pytest

from common.db.sql import run
from connections.models import DecisionProvider
from execution import services
from execution.decision_step import asking, packages
from execution.decision_step.questions import load_asked
from execution.decision_step.types import Decided, Question
from execution.models import EntryDecision, Order
from execution.runtime.trading_runtime import TradingRuntime
from signals.models import Feed
from tests.decisions import provider_of, service_at
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.fakes.decision_service import DecisionService, factor
from tests.until import until

pytestmark = pytest.mark.usefixtures("inline_commits")


def sent(count: int = 1) -> Callable[[], bool]:
    unsent = ("PENDING", "DENIED", "SUBMITTING")
    return lambda: Order.objects.exclude(status__in=unsent).count() == count


def statuses() -> list[tuple[str, str]]:
    return list(Order.objects.order_by("id").values_list("status", "reason"))


@pytest.fixture(autouse=True)
def _idle_threads() -> Iterator[None]:
    """Let the providers' threads end before the rows are deleted."""
    yield
    until(lambda: not any(t.name.startswith("decision-") for t in threading.enumerate()))


def test_rules_are_applied_by_the_same_call(
    feed: Feed, broker: FakeBroker, trading: TradingRuntime
) -> None:
    rules = provider_of(max_spread=D("0.9"), broken_rule_factor=D("0.5"))
    factories.account(feed, preset_decision_provider=rules)
    factories.account(feed)
    factories.signal(feed)
    services.execute(factories.pending())
    assert set(Order.objects.values_list("quantity", flat=True)) == {D(50), D(100)}
    [row] = EntryDecision.objects.all()
    assert (row.factor, row.reason) == (D("0.5"), "spread 1 pips, maximum 0.9")
    until(lambda: len(broker.calls) == 2)


def test_entries_without_a_provider_do_not_wait_for_one_that_hangs(
    feed: Feed, broker: FakeBroker, trading: TradingRuntime, service: DecisionService
) -> None:
    service.hangs = True
    slow = service_at(service.url, timeout_seconds=D(5))
    factories.account(feed, preset_decision_provider=slow)
    factories.account(feed)
    factories.signal(feed)
    services.execute(factories.pending())
    assert service.asked.wait(60)
    until(sent())
    assert ("PENDING", "DECISION_AWAITED") in statuses()
    service.hangs = False
    service.release.set()
    until(sent(2))
    assert len(broker.calls) == 2


def test_entries_that_come_while_it_answers_are_the_next_bundle(
    feed: Feed, broker: FakeBroker, trading: TradingRuntime, service: DecisionService
) -> None:
    service.hangs = True
    provider = service_at(service.url, timeout_seconds=D(5))
    factories.account(feed, preset_decision_provider=provider)
    first = factories.signal(feed)
    services.execute(factories.pending())
    assert service.asked.wait(60)
    later = [factories.signal(feed) for _ in range(2)]
    for _ in range(2):  # asked twice, queued once
        run("UPDATE execution_order SET due_at = clock_timestamp() WHERE status = 'PENDING'")
        services.execute(factories.pending())
    service.hangs = False
    service.release.set()
    until(sent(3))
    ids = {s.pk: Order.objects.get(signal=s).pk for s in (first, *later)}
    assert service.order_ids() == [[ids[first.pk]], [ids[s.pk] for s in later]]


def test_answer_after_the_time_out_is_dropped(
    feed: Feed, broker: FakeBroker, trading: TradingRuntime, service: DecisionService
) -> None:
    service.hangs, service.answer = True, factor("3")
    provider = service_at(service.url, timeout_seconds=D("0.3"))
    factories.account(feed, preset_decision_provider=provider)
    factories.signal(feed)
    services.execute(factories.pending())
    until(lambda: statuses() == [("DENIED", "DECISION_UNAVAILABLE")])
    service.release.set()  # now it answers
    assert list(EntryDecision.objects.values_list("failure", flat=True)) == ["TIMEOUT"]
    assert broker.calls == []


@pytest.mark.parametrize("at", ["claim", "answered", "stored"])
def test_death_between_question_and_claim_makes_one_intent(
    feed: Feed, broker: FakeBroker, trading: TradingRuntime, service: DecisionService, at: str
) -> None:
    provider = service_at(service.url)
    factories.account(feed, preset_decision_provider=provider)
    factories.signal(feed)
    [order_id] = factories.pending()
    factories.claim_all()  # the process dies after its claim, before it asks
    if at != "claim":
        asked = load_asked(provider.pk, [order_id])
        assert asked is not None
        answers = asking._answers(asked)
        if at == "stored":
            asking.store(asked, answers, 1)
    run("UPDATE execution_order SET due_at = clock_timestamp()")  # some seconds later
    services.execute([order_id])  # another process
    services.execute([order_id])
    until(sent())
    assert len(service.journal) == {"claim": 1, "answered": 2, "stored": 1}[at]
    assert len(broker.calls) == 1
    assert EntryDecision.objects.count() == 1


class Package:
    """An installed provider whose answer the test sets."""

    def __init__(self) -> None:
        self.answer: Callable[[Sequence[Question]], Any] = lambda questions: {
            q.order_id: Decided(D(2), "trend") for q in questions
        }
        self.seen: list[int] = []

    def __call__(self, questions: Sequence[Question]) -> Mapping[int, Decided]:
        self.seen.append(len(questions))
        found: Mapping[int, Decided] = self.answer(questions)
        return found


PACKAGE = Package()


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> Iterator[Package]:
    PACKAGE.__init__()  # type: ignore[misc]
    point = EntryPoint("mine", f"{__name__}:PACKAGE", packages.ENTRY_POINTS)
    broken = EntryPoint("broken", "no.such.module:x", packages.ENTRY_POINTS)
    monkeypatch.setattr(packages, "entry_points", lambda group: [point, broken])
    packages.load.cache_clear()
    yield PACKAGE
    packages.load.cache_clear()


def test_installed_package_decides(
    feed: Feed, broker: FakeBroker, trading: TradingRuntime, package: Package
) -> None:
    assert packages.installed() == ["broken", "mine"]
    provider = provider_of(kind="PACKAGE", entry_point="mine")
    for _ in range(3):
        factories.account(feed, preset_decision_provider=provider)
    factories.signal(feed)
    services.execute(factories.pending())
    until(sent(3))
    assert package.seen == [3]
    assert set(Order.objects.values_list("quantity", flat=True)) == {D(200)}


def _raise(_: object) -> Any:
    raise RuntimeError("a secret of the package")


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (lambda questions: None, "BAD_ANSWER"),
        (lambda questions: {0: Decided(D(1))}, "BAD_ANSWER"),
        (lambda questions: {}, "MISSING"),
        (lambda questions: {q.order_id: Decided(D(7)) for q in questions}, "BAD_FACTOR"),
        (lambda questions: {q.order_id: Decided(D("NaN")) for q in questions}, "BAD_FACTOR"),
        (
            lambda questions: {q.order_id: SimpleNamespace(factor=0.5) for q in questions},
            "BAD_FACTOR",
        ),
        (lambda questions: {q.order_id: 1 for q in questions}, "BAD_FACTOR"),
        (_raise, "ERROR"),
    ],
)
def test_package_that_lies_or_raises_decides_nothing(
    feed: Feed, broker: FakeBroker, trading: TradingRuntime, package: Package, answer: Any,
    failure: str,
) -> None:  # fmt: skip
    package.answer = answer
    provider = provider_of(kind="PACKAGE", entry_point="mine")
    factories.account(feed, preset_decision_provider=provider)
    factories.signal(feed)
    services.execute(factories.pending())
    until(lambda: statuses() == [("DENIED", "DECISION_UNAVAILABLE")])
    [row] = EntryDecision.objects.all()
    assert (row.failure, "secret" in row.detail) == (failure, False)


@pytest.mark.parametrize("name", ["broken", "missing"])
def test_package_that_cannot_be_loaded_is_not_installed(
    feed: Feed, broker: FakeBroker, trading: TradingRuntime, package: Package, name: str
) -> None:
    provider = provider_of(kind="PACKAGE", entry_point=name, on_failure="OPEN")
    factories.account(feed, preset_decision_provider=provider)
    factories.signal(feed)
    services.execute(factories.pending())
    until(sent())
    assert EntryDecision.objects.get().failure == "NOT_INSTALLED"


@pytest.mark.django_db(transaction=True)
def test_package_that_hangs_is_left_behind_and_bounded(
    feed: Feed, broker: FakeBroker, trading: TradingRuntime, package: Package
) -> None:
    release = threading.Event()

    def hang(_: Sequence[Question]) -> Any:
        release.wait(120)

    package.answer = hang
    provider = provider_of(kind="PACKAGE", entry_point="mine", timeout_seconds=D("0.1"))
    factories.account(feed, preset_decision_provider=provider)
    calls = asking.MAX_CALLS + 1
    for _ in range(calls):
        factories.signal(feed)
        services.execute(factories.pending())
        until(lambda: Order.objects.filter(status="DENIED").count() == Order.objects.count())
    details = list(EntryDecision.objects.order_by("order_id").values_list("detail", flat=True))
    assert details == ["No answer within 0.1 s."] * asking.MAX_CALLS + [
        "Earlier calls have not ended."
    ]
    assert len(package.seen) == asking.MAX_CALLS
    release.set()


def test_provider_that_was_removed_from_the_preset_is_not_asked(
    feed: Feed, broker: FakeBroker, trading: TradingRuntime, service: DecisionService
) -> None:
    provider = service_at(service.url)
    account = factories.account(feed, preset_decision_provider=provider)
    factories.signal(feed)
    factories.claim_all()
    assert account.preset is not None
    type(account.preset).objects.update(decision_provider=None)
    run("UPDATE execution_order SET due_at = clock_timestamp()")
    services.execute(factories.pending())
    until(sent())
    assert service.journal == []
    DecisionProvider.objects.all().delete()
