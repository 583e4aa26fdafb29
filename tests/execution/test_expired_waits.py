"""An entry that ends unsent because of what it waited for: operators are notified, and no page,
answer or message promises that it will still be sent."""

import html
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from common.clocks import market_now
from common.db.sql import run
from common.ended_orders import ENDED_WAITS
from common.permissions import Role
from common.reason_codes import Code
from connections.models import ExecutionConnection, HostCircuit
from events.models import Notification
from events.services import deliver
from execution.models import Order, OutcomeCheck
from execution.runtime.trading_runtime import TradingRuntime
from execution.services import execute
from execution.signal_outcomes import report_outcomes
from execution.submission.outcomes import ENTRY_WAITS
from signals.models import Feed, Signal
from tests.execution import factories
from tests.execution.fake_broker import KIND, FakeBroker
from tests.html import html_of
from tests.roles import staff
from users.models import User

pytestmark = pytest.mark.usefixtures("inline_commits")
PROMISES = ("if the signal is not too old by then", "the order waits for it", "entries wait")


def trade(present: TradingRuntime) -> None:
    execute(factories.pending())
    assert present.dispatcher.wait_idle(60)
    assert present.report_writer.drain(60)


def lose_to_the_host(present: TradingRuntime, feed: Feed, **fields: Any) -> Signal:
    """Publish while the host is away, until the signal is too old."""
    HostCircuit.objects.create(host=KIND, opened_at=market_now(), probe_at=market_now(), times=1)
    present.renew()
    signal = factories.signal(feed, **fields)
    trade(present)
    assert {*Order.objects.values_list("status", "reason")} == {("PENDING", "BROKER_HOST_DOWN")}
    factories.pass_time(601)
    trade(present)
    return signal


def check() -> int:
    run("UPDATE execution_outcomecheck SET due_at = clock_timestamp()")
    return report_outcomes()


def inbox(user: User | None, kind: str) -> list[tuple[str, str]]:
    deliver()
    found = Notification.objects.filter(user=user, kind=kind).order_by("id")
    return list(found.values_list("title", "body"))


def test_operators_are_notified_of_orders_that_waited_until_too_old(
    feed: Feed, trading: TradingRuntime, broker: FakeBroker
) -> None:
    operator = staff(Role.OPERATOR)
    for name in ("a", "b", "c"):
        factories.account(feed, name=name)
    signal = lose_to_the_host(trading, feed)
    assert (check(), broker.accepted()) == (1, [])
    assert not OutcomeCheck.objects.exists()
    [(title, body)] = inbox(operator, "signal.incomplete")
    assert title == (
        f"Signal S-{signal.pk} Buy EUR/USD: 3 of 3 orders not sent in time (BROKER_HOST_DOWN 3)"
    )
    assert body.splitlines()[0] == (
        f"3 not sent in time: BROKER_HOST_DOWN. {ENDED_WAITS[Code.BROKER_HOST_DOWN].sentence}"
    )


@pytest.mark.django_db(transaction=True)
def test_operators_are_notified_of_orders_without_worker_and_of_failed_ones(
    feed: Feed, broker: FakeBroker
) -> None:
    operator = staff(Role.OPERATOR)
    factories.account(feed, name="late")
    factories.account(feed, name="failed")
    factories.account(feed, name="small", preset_max_quantity=D(50))
    signal = factories.signal(feed)
    late, failed, small = (
        Order.objects.get(connection__name=name).pk for name in ("late", "failed", "small")
    )
    factories.claim_all()
    assert Order.objects.get(pk=small).reason == "MAX_QUANTITY"
    ends = {late: ("DENIED", "SIGNAL_TOO_OLD"), failed: ("FAILED", "SEND_RETRIES_EXHAUSTED")}
    for pk, (status, reason) in ends.items():
        with factories.without_triggers():
            Order.objects.filter(pk=pk).update(status=status, reason=reason, done_at=market_now())
    assert check() == 1
    [(title, body)] = inbox(operator, "signal.incomplete")
    assert title == (
        f"Signal S-{signal.pk} Buy EUR/USD: 1 of 3 orders not sent in time (SIGNAL_TOO_OLD 1),"
        " 1 failed, never sent (SEND_RETRIES_EXHAUSTED 1)"
    )
    assert "1 denied by our rules: MAX_QUANTITY" in body


def test_orders_denied_by_limits_or_expired_at_the_broker_cause_no_message(
    feed: Feed, broker: FakeBroker
) -> None:
    staff(Role.OPERATOR)
    factories.account(feed, name="small", preset_max_quantity=D(50))
    expired = factories.account(feed, name="expired")
    factories.signal(feed)
    factories.claim_all()
    Order.objects.filter(connection=expired).update(
        status="EXPIRED", reason="TIME_IN_FORCE_ENDED", done_at=market_now()
    )
    assert check() == 0
    assert not OutcomeCheck.objects.exists()


def test_orders_that_wait_for_an_hour_are_reported_when_they_end(
    feed: Feed, trading: TradingRuntime, broker: FakeBroker
) -> None:
    """The check continues past a quarter of an hour while no order is lost and orders wait."""
    operator = staff(Role.OPERATOR)
    factories.account(feed, preset_max_signal_age_seconds=7200)
    HostCircuit.objects.create(host=KIND, opened_at=market_now(), probe_at=market_now(), times=1)
    trading.renew()
    factories.signal(feed, order_type="LIMIT", open_price=D("1.09500"))
    for hours in (1, 3):
        run(
            "UPDATE execution_outcomecheck"
            " SET created_at = clock_timestamp() - make_interval(hours => %s)",
            (hours,),
        )
        factories.pass_time(3600 * hours)
        trade(trading)
        assert check() == (1 if hours == 3 else 0)
    [(title, _)] = inbox(operator, "signal.incomplete")
    assert "1 of 1 orders not sent in time (BROKER_HOST_DOWN 1)" in title


@pytest.mark.parametrize("ends_by", ["age", "valid until"])
def test_no_page_or_api_promises_to_send_an_ended_order(
    ends_by: str, feed: Feed, trading: TradingRuntime, broker: FakeBroker
) -> None:
    alice = factories.account(feed)
    until = market_now() + timedelta(seconds=300) if ends_by == "valid until" else None
    signal = lose_to_the_host(trading, feed, valid_until=until)
    order = Order.objects.get()
    status = "DENIED" if ends_by == "age" else "EXPIRED"
    assert (order.status, order.reason) == (status, "BROKER_HOST_DOWN")
    ended = ENDED_WAITS[Code.BROKER_HOST_DOWN]
    seen = all_views(alice, signal, order)
    for view, text in seen.items():
        assert ended.sentence.lower() in text.lower(), (view, text)
        for promise in PROMISES:
            assert promise not in text, (view, promise)
    for view in ("API order", "portal", "console order", "message"):
        assert ended.hint in seen[view], view
    assert "Not sent: the broker's host" in seen["portal"]
    assert "Nothing was sent." in seen["portal"]
    assert seen["message"].startswith("Not sent: Buy EUR/USD")


def all_views(account: ExecutionConnection, signal: Signal, order: Order) -> dict[str, str]:
    """Return what owner and operator read about an order."""
    owner, operator = Client(), Client()
    assert account.user is not None
    owner.force_login(account.user)
    operator.force_login(staff(Role.OPERATOR, Role.SUPPORT))

    def text(client: Client, path: str) -> str:
        answer = client.get(path)
        assert answer.status_code == 200, (path, answer.status_code)
        return html.unescape(html_of(answer))

    reason = owner.get(f"/api/v1/orders/{order.pk}/").json()["reason"]
    [line] = [
        one["reason"]
        for one in operator.get(f"/api/v1/execution-logs/?order={order.pk}").json()["results"]
        if one["status"] == order.status
    ]
    [(title, body)] = inbox(account.user, f"order.{order.status.lower()}")
    return {
        "API order": f"{reason['sentence']} {reason['hint']}",
        "API log": f"{line['sentence']} {line['hint']}",
        "portal": text(owner, f"/signals/{signal.pk}/"),
        "console order": _after(
            text(operator, reverse("admin:execution_order_page", args=[order.pk])), "<h1>"
        ),
        "console export": text(operator, reverse("admin:signals_signal_export", args=[signal.pk])),
        "console account": text(
            operator, reverse("admin:connections_executionconnection_page", args=[account.pk])
        )
        .partition("Last orders")[2]
        .partition("Last troubles")[0],
        "message": f"{title}\n{body}",
    }


def _after(text: str, mark: str) -> str:
    """Return the page without the log line in which the order still waited."""
    return text.partition(mark)[2].partition("Execution log")[0]


def test_each_waiting_code_has_a_message_for_an_ended_order() -> None:
    assert set(ENDED_WAITS) >= ENTRY_WAITS
    for code, ended in ENDED_WAITS.items():
        assert ended.sentence != code.sentence
        assert ended.hint != code.hint or code is Code.MARKET_CLOSED
        assert not any(promise in f"{ended.sentence} {ended.hint}" for promise in PROMISES), code
