"""Rejected and skipped orders: owners get each one, operators one message a signal."""

from collections.abc import Mapping
from typing import Any

import pytest

from brokers.base import OutcomeUnknown, Rejected
from common.db.sql import run
from common.permissions import Role
from common.reason_codes import Code
from connections.models import ExecutionConnection
from events.models import Event, Notification
from events.services import create_channel, deliver
from execution import job_table
from execution.models import Order, OutcomeCheck
from execution.signal_outcomes import Outcome, Step, next_step, report_outcomes
from signals.models import Feed
from tests.events.conftest import _keys, hook
from tests.events.receiver import Receiver
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.execution.trading_process import running, until
from tests.roles import staff
from users.models import User

__all__ = ["_keys", "hook"]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def operator(db: None) -> User:
    return staff(Role.OPERATOR, name="olga")


def accounts(feed: Feed, *names: str, **fields: Any) -> list[ExecutionConnection]:
    return [factories.account(feed, name=name, **fields) for name in names]


def answer_all(answers: Mapping[str, Any]) -> None:
    """Claim what is due and answer by the account's name; orders of other accounts are filled."""
    named = {str(one.pk): one.name for one in ExecutionConnection.objects.all()}
    for outgoing in factories.claim_all():
        answer = answers.get(named[outgoing.request.connection_id])
        factories.answer(outgoing, answer or factories.fake_broker().fill_at_once(outgoing.request))


def check(*, age: float = 0) -> int:
    """Check every signal as the maintenance worker does, so many seconds after publication."""
    run(
        "UPDATE execution_outcomecheck SET due_at = clock_timestamp(),"
        " created_at = clock_timestamp() - make_interval(secs => %s)",
        (age,),
    )
    return report_outcomes()


def inbox(user: User | None, kind: str) -> list[tuple[str, str]]:
    deliver()
    found = Notification.objects.filter(user=user, kind=kind).order_by("id")
    return list(found.values_list("title", "body"))


def rejected(code: Code) -> Rejected:
    return Rejected(code, "the broker's words")


def test_operators_get_one_message_a_signal_with_counts_by_reason(
    feed: Feed, broker: FakeBroker, operator: User, hook: Receiver
) -> None:
    create_channel(user_id=operator.pk, name="hook", url=hook.url())
    poor = accounts(feed, "poor-1", "poor-2")
    accounts(feed, "closed", "good-1", "good-2")
    [paused] = accounts(feed, "paused", is_paused=True)
    signal = factories.signal(feed)
    assert check() == 0, "five orders are not settled"
    no_money = rejected(Code.NO_MONEY)
    answer_all({"poor-1": no_money, "poor-2": no_money, "closed": rejected(Code.MARKET_CLOSED)})
    # A rejection that may pass is retried, then final.
    factories.pass_time(3600)
    run("UPDATE signals_signal SET published_at = clock_timestamp()")
    answer_all({"poor-1": no_money, "poor-2": no_money, "closed": rejected(Code.MARKET_CLOSED)})
    assert Order.objects.filter(status="REJECTED").count() == 3
    assert [check() for _ in range(3)] == [1, 0, 0]
    assert not OutcomeCheck.objects.exists()

    [(title, body)] = inbox(operator, "signal.incomplete")
    assert title == (
        f"Signal S-{signal.pk} Buy EUR/USD: 3 of 6 orders rejected (NO_MONEY 2, MARKET_CLOSED 1),"
        " 1 skipped (CONNECTION_PAUSED 1)"
    )
    assert body.splitlines()[0] == f"2 rejected: NO_MONEY. {Code.NO_MONEY.sentence}"
    assert inbox(operator, "order.rejected") == inbox(operator, "order.skipped") == []
    sent = [event for one in hook.journal for event in one["events"]]
    assert [event["kind"] for event in sent] == ["signal.incomplete"]
    assert sent[0]["payload"]["orders"] == {
        "REJECTED": {"NO_MONEY": 2, "MARKET_CLOSED": 1},
        "SKIPPED": {"CONNECTION_PAUSED": 1},
    }

    assert inbox(paused.user, "signal.incomplete") == []
    [(title, body)] = inbox(paused.user, "order.skipped")
    assert title == "Skipped: Buy EUR/USD"
    assert Code.CONNECTION_PAUSED.sentence in body
    assert Code.CONNECTION_PAUSED.hint in body
    assert "Skipped signals are not executed later." in body
    assert len(inbox(poor[0].user, "order.rejected")) == 1
    assert inbox(poor[0].user, "order.skipped") == []


def test_message_waits_two_minutes_and_is_corrected_once(
    feed: Feed, broker: FakeBroker, operator: User
) -> None:
    accounts(feed, "late", "later")
    accounts(feed, "paused", is_paused=True)
    factories.signal(feed)
    answer_all(dict.fromkeys(("late", "later"), OutcomeUnknown(Code.REPLY_LOST)))
    assert check(age=119) == 0
    assert check(age=121) == 1
    [(_, body)] = inbox(operator, "signal.incomplete")
    assert "2 orders are not settled yet. One correction follows if the numbers change." in body
    first, second = Order.objects.filter(status="UNKNOWN").order_by("id")
    run("UPDATE execution_order SET status = 'REJECTED', reason = 'NO_MONEY' WHERE id = %s",
        (first.pk,))  # fmt: skip
    assert check(age=200) == 0, "the other one is still open: a correction is sent once"
    run("UPDATE execution_order SET status = 'REJECTED', reason = 'NO_MONEY' WHERE id = %s",
        (second.pk,))  # fmt: skip
    assert [check(age=250), check(age=260)] == [1, 0]
    _, (title, _) = inbox(operator, "signal.incomplete")
    assert title.startswith("Correction: Signal ")
    assert "2 of 3 orders rejected (NO_MONEY 2), 1 skipped" in title


@pytest.mark.parametrize(
    ("outcome", "step"),
    [
        (Outcome(1, 0), Step(report=False, repeat=False)),
        (Outcome(1, 0, {"DENIED": {"X": 5}}), Step(report=False, repeat=False)),
        (Outcome(1, 0, {"SKIPPED": {"X": 5}}), Step(report=True, repeat=False)),
        (Outcome(1, 1, {"SKIPPED": {"X": 5}}), Step(report=False, repeat=True)),
        (Outcome(120, 1, {"SKIPPED": {"X": 5}}), Step(report=True, repeat=True)),
        (Outcome(120, 1), Step(report=False, repeat=True)),
        (Outcome(900, 1), Step(report=False, repeat=True)),
        (Outcome(86_400, 1), Step(report=False, repeat=False)),
        (Outcome(900, 1, {"SKIPPED": {"X": 5}}), Step(report=True, repeat=False)),
        (Outcome(1, 0, {"DENIED": {"BROKER_HOST_DOWN": 5}}), Step(report=True, repeat=False)),
        (Outcome(1, 0, {"EXPIRED": {"SIGNAL_EXPIRED": 5}}), Step(report=True, repeat=False)),
        (Outcome(1, 0, {"FAILED": {"NEVER_ARRIVED": 1}}), Step(report=True, repeat=False)),
        (Outcome(200, 1, {"SKIPPED": {"X": 6}}, {"SKIPPED": {"X": 5}}), Step(False, True)),
        (Outcome(200, 0, {"SKIPPED": {"X": 6}}, {"SKIPPED": {"X": 5}}), Step(True, False)),
        (Outcome(900, 1, {"SKIPPED": {"X": 6}}, {"SKIPPED": {"X": 5}}), Step(True, False)),
        (Outcome(200, 0, {"SKIPPED": {"X": 5}, "FAILED": {"Y": 1}}, {"SKIPPED": {"X": 5}}),
         Step(True, False)),
        (Outcome(200, 0, {"SKIPPED": {"X": 5}, "DENIED": {"Y": 1}}, {"SKIPPED": {"X": 5}}),
         Step(False, False)),
    ],
)  # fmt: skip
def test_next_step_is_decided_by_counts_and_age(outcome: Outcome, step: Step) -> None:
    assert next_step(outcome) == step


def test_signal_that_all_accounts_take_makes_no_message(
    feed: Feed, alice: ExecutionConnection, operator: User
) -> None:
    signal = factories.signal(feed)
    factories.fill_all()
    assert OutcomeCheck.objects.get().signal_id == signal.pk
    assert check() == 0
    assert not OutcomeCheck.objects.exists()
    assert inbox(operator, "signal.incomplete") == []


def test_skipped_orders_of_one_owner_are_one_notification(feed: Feed, operator: User) -> None:
    owner = User.objects.create(username="paula")
    accounts(feed, "a", "b", "c", owner=owner, is_paused=True)
    signal = factories.signal(feed)
    assert Event.objects.filter(kind="order.skipped", user_id=owner.pk).count() == 3
    [(title, _)] = inbox(owner, "order.skipped")
    assert title == f"3 orders skipped: S-{signal.pk}"


def test_maintenance_worker_writes_the_message(
    feed: Feed, operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_table, "OUTCOMES_SECONDS", 0.1)
    accounts(feed, "paused", is_paused=True)
    with running("maintenance", 30):
        factories.signal(feed)
        run("UPDATE execution_outcomecheck SET due_at = clock_timestamp()")
        until(lambda: Event.objects.filter(kind="signal.incomplete").exists())
    assert len(inbox(operator, "signal.incomplete")) == 1


def test_operator_who_asks_gets_one_counted_message_of_successes(
    feed: Feed, broker: FakeBroker, operator: User, hook: Receiver
) -> None:
    create_channel(user_id=operator.pk, name="hook", url=hook.url(), kinds=["signal.executed"])
    accounts(feed, "poor", "good-1", "good-2")
    signal = factories.signal(feed)
    assert check() == 0, "three orders are not settled"
    answer_all({"poor": rejected(Code.NO_MONEY)})
    assert check() == 2
    assert check() == 0
    assert [e["filled"] for e in factories.events("signal.executed")] == [2]
    deliver()
    [sent] = hook.journal
    assert sent["title"] == f"Signal {signal.number} Buy EUR/USD: 2 filled"
    assert inbox(operator, "signal.executed") == []
    closed = factories.close_signal(signal)
    answer_all({})
    check()
    assert factories.events("signal.executed")[1]["filled"] == 2
    assert closed.action == "CLOSE"


def test_successes_that_no_channel_asks_for_are_not_written(
    feed: Feed, broker: FakeBroker, operator: User, hook: Receiver
) -> None:
    create_channel(user_id=operator.pk, name="hook", url=hook.url())  # all kinds by default
    accounts(feed, "good")
    factories.signal(feed)
    answer_all({})
    assert check() == 0
    assert factories.events("signal.executed") == []
