"""Queued entries that a halt stops are denied many at once, as the claim would deny each."""

from decimal import Decimal as D
from typing import Any

import pytest

from brokers.base import NotSent
from common.clocks import machine_time, market_now
from common.reason_codes import Code
from connections.models import ExecutionConnection
from execution import services
from execution.base.kill_switch import Halts, read_halts
from execution.models import ExecutionLog, Order, RouteState
from execution.runtime.trading_runtime import TradingRuntime
from execution.services import close_position, execute
from execution.submission import halted
from execution.submission.claim import claim
from execution.submission.halted import deny_halted
from signals.models import Feed
from tests.connections import make
from tests.execution import factories

pytestmark = pytest.mark.usefixtures("inline_commits")
HALTED = Halts(all_trading="HALTED")


def states(ids: list[int]) -> list[tuple[str, str]]:
    found = Order.objects.filter(pk__in=ids).order_by("pk")
    return list(found.values_list("status", "reason"))


def queued(feed: Feed, count: int = 1, **fields: Any) -> list[int]:
    """Publish signals; return the ids of their entries."""
    before = set(Order.objects.values_list("pk", flat=True))
    for _ in range(count):
        factories.signal(feed, **fields)
    return sorted({*Order.objects.values_list("pk", flat=True)} - before)


def deny(order_ids: list[int], halts: Halts = HALTED) -> list[int]:
    return deny_halted(order_ids, halts, worker_id="w")


def test_one_bundle_denies_what_is_due_in_all_others(
    alice: ExecutionConnection, feed: Feed
) -> None:
    factories.account(feed)
    ids = queued(feed, 30)
    assert len(ids) == 60
    assert deny(ids[:1]) == []
    assert states(ids) == [("DENIED", "TRADING_HALTED")] * 60
    for order_id in ids:  # a line and an event of each
        assert factories.log_codes(order_id)[1:] == [("TRADING_HALTED", "DENIED")]
    assert len(factories.events("order.denied")) == 60


@pytest.mark.parametrize("scope", ["ALL", "FEED", "USER", "CONNECTION", "BROKER_TYPE", "SYMBOL"])
@pytest.mark.parametrize("mode", ["REDUCING", "HALTED"])
def test_only_the_scope_is_denied(
    alice: ExecutionConnection, feed: Feed, scope: str, mode: str
) -> None:
    other_feed = make.feed()
    factories.instrument("GBP/USD")
    other = factories.account(other_feed)
    factories.quote(other, pair="GBP/USD")
    inside = queued(feed, 2)
    outside = queued(other_feed, 2, currency_pair="GBP/USD")
    if scope in ("ALL", "BROKER_TYPE"):
        inside, outside = inside + outside, []
    named: dict[str, dict[str, Any]] = {
        "FEED": {"feed": feed}, "USER": {"user": alice.user}, "CONNECTION": {"connection": alice},
        "BROKER_TYPE": {"broker_type": alice.type}, "SYMBOL": {"pair": "EUR/USD"},
    }  # fmt: skip
    make.kill_switch(mode, scope=scope, **named.get(scope, {}))
    assert deny([inside[0], *outside[:1]], read_halts()) == outside[:1]
    code = "TRADING_HALTED" if mode == "HALTED" else "ENTRIES_HALTED"
    assert states(inside) == [("DENIED", code)] * len(inside)
    assert states(outside) == [("PENDING", "")] * len(outside)


def test_entry_of_another_symbol_by_the_subscriptions_map_is_denied(feed: Feed) -> None:
    factories.instrument("GER40/EUR")
    row = factories.account()
    make.subscription(row, feed, symbol_map={"DAX/EUR": "GER40EUR"})
    (order_id,) = queued(feed, currency_pair="DAX/EUR")
    assert deny([order_id], Halts(pairs={"DAX/EUR": "REDUCING"})) == []
    assert states([order_id]) == [("DENIED", "ENTRIES_HALTED")]


@pytest.mark.django_db(transaction=True)
def test_row_log_and_event_are_those_of_a_claim(alice: ExecutionConnection, feed: Feed) -> None:
    """Both were sized and not sent before: the denial clears what was decided then."""
    for _ in range(2):
        factories.signal(feed, targets=[("1.2", "1")])
    ids = factories.pending()
    for outgoing in factories.claim_all():
        factories.answer(outgoing, NotSent(Code.NOT_CONNECTED))
    factories.pass_time(20)
    assert Order.objects.filter(margin=None).count() == 0
    make.kill_switch("REDUCING", scope="ALL")
    claim(ids[:1], worker_id="w")
    assert deny(ids[1:], read_halts()) == []
    found = Order.objects.filter(pk__in=ids).order_by("pk").values()
    by_claim, together = (dict[str, Any](row) for row in found)
    differing = {name for name in by_claim if by_claim[name] != together[name]}
    assert differing <= {
        "id", "signal_id", "client_order_id", "created_at", "enqueued_at", "due_at", "answer_by",
        "validated_at", "done_at",
    }  # fmt: skip
    assert together["status"] == "DENIED"
    assert together["margin"] is together["expected_price"] is None
    lines = [
        list(ExecutionLog.objects.filter(order_id=order_id).order_by("pk").values_list(
            "code", "status", "detail", "numbers", "connection_id"))
        for order_id in ids
    ]  # fmt: skip
    assert lines[0] == lines[1]
    assert factories.events("order.denied") == [{"code": "ENTRIES_HALTED", "detail": ""}] * 2


def test_what_waits_or_may_become_something_else_is_left_to_the_claim(
    alice: ExecutionConnection, feed: Feed
) -> None:
    ids = queued(feed, 7)
    changes: list[dict[str, Any]] = [
        {"reason": Code.AWAITING_TRIGGER.value, "order_type": "STOP", "stop_price": D("1.2")},
        {"awaits_condition": True},
        {"route_state": RouteState.OPEN, "routed_from": alice},
        {"oco_group": "00000000-0000-0000-0000-000000000001"},
        {"pending_action": "CANCEL"},
        {"due_at": market_now() + factories.HOUR},
    ]
    for order_id, change in zip(ids, changes, strict=False):
        Order.objects.filter(pk=order_id).update(**change)
    assert deny(ids) == ids[:6]
    assert [state[0] for state in states(ids)] == ["PENDING"] * 6 + ["DENIED"]


def test_exits_are_never_denied(alice: ExecutionConnection, feed: Feed) -> None:
    position = factories.filled(factories.signal(feed))
    [exit_id] = close_position(position.pk)
    (entry_id,) = queued(feed)
    assert deny([exit_id, entry_id]) == [exit_id]
    assert states([exit_id]) == [("PENDING", "")]


def test_bundle_without_a_halted_entry_touches_no_other(
    alice: ExecutionConnection, feed: Feed
) -> None:
    other_feed = make.feed()
    make.subscription(alice, other_feed)
    ids, others = queued(feed), queued(other_feed)
    assert deny(ids, Halts(feeds={other_feed.pk: "HALTED"})) == ids
    assert states(ids + others) == [("PENDING", "")] * 2


@pytest.mark.django_db(transaction=True)
def test_locked_entry_is_left_and_nothing_waits_for_it(
    alice: ExecutionConnection, feed: Feed
) -> None:
    ids = queued(feed, 3)
    lock = f"SELECT id FROM execution_order WHERE id = {ids[1]} FOR NO KEY UPDATE"
    with factories.locked_elsewhere(lock):
        assert deny(ids) == [ids[1]]
    assert [state[0] for state in states(ids)] == ["DENIED", "PENDING", "DENIED"]


@pytest.mark.django_db(transaction=True)
def test_accounts_that_a_claim_has_locked_delay_nothing(
    alice: ExecutionConnection, feed: Feed
) -> None:
    ids = queued(feed, 2)
    lock = "SELECT connection_id FROM connections_connectionlock FOR NO KEY UPDATE"
    with factories.locked_elsewhere(lock):
        assert deny(ids[:1]) == []
    assert states(ids) == [("DENIED", "TRADING_HALTED")] * 2


def test_long_backlog_is_denied_in_steps(
    alice: ExecutionConnection, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bundle's own entries come first."""
    monkeypatch.setattr(halted, "MOST", 2)
    ids = queued(feed, 5)
    assert deny([ids[4]]) == []
    assert Order.objects.filter(status="DENIED").count() == 2
    assert states([ids[4]]) == [("DENIED", "TRADING_HALTED")]


def test_execution_denies_together_and_renews_its_copy_of_the_halts(
    alice: ExecutionConnection, feed: Feed, trading: TradingRuntime
) -> None:
    """What this process has claimed before is stopped right before its send."""
    ids = queued(feed, 3)
    make.kill_switch("REDUCING", scope="ALL")
    execute(ids[:1])
    assert states(ids) == [("DENIED", "ENTRIES_HALTED")] * 3
    trading.kill_switch.update(Halts(), machine_time() - 1)  # an earlier read comes late
    (order,) = Order.objects.filter(pk=ids[0])
    assert trading.kill_switch._halts == Halts(all_trading="REDUCING")
    assert order.submitted_at is None


def test_fault_leaves_the_entries_to_the_claim(
    alice: ExecutionConnection, feed: Feed, trading: TradingRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> list[int]:
        raise ValueError("a row that no code expects")

    monkeypatch.setattr(services, "deny_halted", broken)
    (order_id,) = queued(feed)
    make.kill_switch("HALTED", scope="ALL")
    execute([order_id])
    assert states([order_id]) == [("DENIED", "TRADING_HALTED")]
    assert ExecutionLog.objects.filter(order_id=order_id, code="TRADING_HALTED").count() == 1
