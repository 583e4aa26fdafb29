"""Closes that brokers reject are repeated as long as what requested them holds."""

from collections.abc import Callable
from decimal import Decimal as D
from typing import Any

import pytest

from brokers.base import Rejected
from common.reason_codes import Code
from connections import services as connections
from connections.models import ExecutionConnection, KillSwitch, TradingPause
from execution import services
from execution.models import ExecutionLog, Order
from execution.monitoring.halt_actions import carry_out_halts
from execution.monitoring.level_monitor import scan_levels
from execution.monitoring.loss_limits import apply_loss_limits
from execution.monitoring.pending_actions import process_pending_actions
from positions.models import ExecutionPosition
from signals.models import Feed, Signal
from tests.connections import make
from tests.execution import factories
from tests.execution.monitoring.test_loss_limits import read
from tests.loss_limits import limit_of, pause_of

pytestmark = pytest.mark.usefixtures("inline_commits")
AGO = "UPDATE execution_order SET done_at = done_at - interval '31 s' WHERE done_at IS NOT NULL"


@pytest.fixture
def bought(alice: ExecutionConnection, feed: Feed) -> ExecutionPosition:
    return factories.filled(factories.signal(feed))


def reject() -> None:
    """The broker rejects the exit that waits, as it does while its market is closed."""
    (outgoing,) = factories.claim_all()
    factories.answer(outgoing, Rejected(Code.MARKET_CLOSED))


def later() -> None:
    factories.force(AGO, ())


def exits() -> list[tuple[str, str]]:
    found = Order.objects.exclude(position=None).order_by("pk")
    return list(found.values_list("leg", "status"))


def first_log(leg: str) -> tuple[str, str]:
    log = ExecutionLog.objects.filter(order_id=Order.objects.get(leg=leg).pk).earliest("pk")
    return log.code, log.detail


def halt(bought: ExecutionPosition, scope: str) -> KillSwitch:
    signal = bought.signal
    assert signal is not None
    names: dict[str, dict[str, Any]] = {
        "ALL": {},
        "FEED": {"feed_id": signal.feed_id},
        "USER": {"user_id": bought.connection.user_id},
        "CONNECTION": {"connection_id": bought.connection_id},
        "BROKER_TYPE": {"broker_type": bought.connection.type},
        "SYMBOL": {"pair": "EUR/USD"},
    }
    return connections.set_kill_switch(
        scope=scope, mode="REDUCING", reason="test", by=None, flatten=True, **names[scope]
    )


@pytest.mark.parametrize("scope", KillSwitch.Scope.values)
def test_halt_closes_again_what_the_broker_rejected_until_its_release(
    bought: ExecutionPosition, runtime: Any, scope: str
) -> None:
    switch = halt(bought, scope)
    carry_out_halts()
    reject()
    assert scan_levels() == []  # not at once
    later()
    assert len(scan_levels()) == 1
    assert exits() == [("halt-1", "REJECTED"), ("halt-2", "PENDING")]
    assert first_log("halt-2") == ("FLATTENED", f"kill switch {switch.pk}")
    assert scan_levels() == []  # one is on its way
    reject()
    later()
    later()
    connections.release_kill_switch(switch.pk, by=None)
    assert scan_levels() == []


@pytest.mark.parametrize("name", ["feed_id", "user_id", "connection_id", "broker_type", "pair"])
def test_halt_closes_nothing_of_another_scope(
    bought: ExecutionPosition, runtime: Any, name: str
) -> None:
    other = factories.account(make.feed())
    values: dict[str, Any] = {
        "feed_id": other.subscriptions.get().feed_id, "user_id": other.user_id,
        "connection_id": other.pk, "broker_type": "paper", "pair": "GBP/USD",
    }  # fmt: skip
    connections.set_kill_switch(
        scope=name.removesuffix("_id").upper().replace("PAIR", "SYMBOL"), mode="REDUCING",
        reason="test", by=None, flatten=True, **{name: values[name]},
    )  # fmt: skip
    services.close_positions([bought.pk])
    reject()
    later()
    assert scan_levels() == []


def test_halt_leaves_open_what_it_has_not_tried_to_close(
    alice: ExecutionConnection, feed: Feed, runtime: Any
) -> None:
    """It cancels no entries: what fills later stays open."""
    signal = factories.signal(feed)
    (outgoing,) = factories.claim_all()  # on its way to the broker
    connections.set_kill_switch(scope="ALL", mode="REDUCING", reason="test", by=None, flatten=True)
    carry_out_halts()
    factories.answer(outgoing, factories.fake_broker().fill_at_once(outgoing.request))
    assert ExecutionPosition.objects.open().get().signal_id == signal.pk
    assert scan_levels() == []


@pytest.fixture
def filled_later(
    alice: ExecutionConnection, feed: Feed, runtime: Any
) -> Callable[..., ExecutionPosition]:
    """A position of an entry that a halt which closes found at its broker, filled after it."""

    def fill(**halted: Any) -> ExecutionPosition:
        factories.signal(feed)
        (outgoing,) = factories.claim_all()
        values = {"scope": "ALL", "mode": "REDUCING", "reason": "test", "by": None, **halted}
        connections.set_kill_switch(flatten=True, **values)
        carry_out_halts()
        factories.answer(outgoing, factories.fake_broker().fill_at_once(outgoing.request))
        return ExecutionPosition.objects.open().get()

    return fill


@pytest.mark.parametrize("by", ["person", "provider"])
def test_halt_leaves_open_what_others_close_in_part(
    filled_later: Callable[..., ExecutionPosition], by: str
) -> None:
    position = filled_later()
    if by == "person":
        services.close_positions([position.pk], fraction=D("0.2"))
    else:
        factories.close_signal(Signal.objects.get(), "0.2")
    factories.fill_all()
    position.refresh_from_db()
    assert position.quantity == 80
    assert scan_levels() == []


def test_halt_leaves_open_what_a_person_could_not_close(
    filled_later: Callable[..., ExecutionPosition],
) -> None:
    services.close_positions([filled_later().pk])
    reject()
    later()
    assert scan_levels() == []


def test_halt_that_cancels_closes_again_what_filled_before_the_cancel(
    filled_later: Callable[..., ExecutionPosition],
) -> None:
    filled_later(cancel_entries=True)
    factories.pass_time(2)
    process_pending_actions()
    reject()
    later()
    assert len(scan_levels()) == 1
    assert exits() == [("halt-1", "REJECTED"), ("halt-2", "PENDING")]


def test_halt_that_only_cancels_closes_nothing(bought: ExecutionPosition, runtime: Any) -> None:
    connections.set_kill_switch(
        scope="ALL", mode="REDUCING", reason="test", by=None, cancel_entries=True
    )
    assert scan_levels() == []


def test_loss_limit_closes_again_what_the_broker_rejected_until_its_pause_ends(
    bought: ExecutionPosition, alice: ExecutionConnection, runtime: Any
) -> None:
    """Its pause is open, so the limit itself is not judged again, however far the equity falls."""
    limit_of(alice.preset, unit="AMOUNT", maximum=D(500), action="PAUSE_AND_CLOSE")
    read(alice, "10000")
    read(alice, "9000")
    apply_loss_limits()
    reject()
    read(alice, "8000")
    assert apply_loss_limits() == []
    assert scan_levels() == []
    later()
    assert len(scan_levels()) == 1
    assert exits() == [("loss-1", "REJECTED"), ("loss-2", "PENDING")]
    pause = TradingPause.objects.get()
    assert first_log("loss-2") == (pause.code, pause.detail)
    reject()
    later()
    later()
    connections.resume_after_limit(pause.pk, by=None)
    assert scan_levels() == []


def test_loss_limit_that_only_pauses_closes_nothing(
    bought: ExecutionPosition, alice: ExecutionConnection, runtime: Any
) -> None:
    limit_of(alice.preset, unit="AMOUNT", maximum=D(500), action="PAUSE")
    read(alice, "10000")
    read(alice, "9000")
    apply_loss_limits()
    assert TradingPause.objects.count() == 1
    assert scan_levels() == []


@pytest.mark.parametrize("of", ["account", "subscription", "another subscription"])
def test_pause_closes_what_is_of_its_account_or_subscription(
    bought: ExecutionPosition, alice: ExecutionConnection, feed: Feed, runtime: Any, of: str
) -> None:
    """An entry may have filled after the pause began."""
    mine, other = alice.subscriptions.get(feed=feed), make.subscription(alice, make.feed())
    subscriptions = {"account": None, "subscription": mine, "another subscription": other}
    pause_of(alice, action="PAUSE_AND_CLOSE", subscription=subscriptions[of])
    assert len(scan_levels()) == (of != "another subscription")


def test_repetitions_wait_longer_and_longer(bought: ExecutionPosition, runtime: Any) -> None:
    """A market may be closed for a weekend."""
    halt(bought, "ALL")
    carry_out_halts()
    waits = []
    for _ in range(7):
        reject()
        waited = 0
        while not scan_levels():
            waited += 30
            factories.force(
                "UPDATE execution_order SET done_at = done_at - interval '30 s'"
                " WHERE done_at IS NOT NULL"
            )
        waits.append(waited)
    assert waits == [30, 60, 120, 240, 480, 900, 900]


def test_pause_of_a_subscription_that_has_ended_closes_nothing(
    bought: ExecutionPosition, alice: ExecutionConnection, feed: Feed, runtime: Any
) -> None:
    """As the page says that ends it, and docs/loss-limits.md."""
    subscription = alice.subscriptions.get(feed=feed)
    pause_of(alice, action="PAUSE_AND_CLOSE", subscription=subscription)
    connections.unsubscribe(subscription.pk, by=None)
    assert scan_levels() == []


def test_exit_that_a_person_wrote_is_not_repeated(bought: ExecutionPosition, runtime: Any) -> None:
    services.close_positions([bought.pk])
    reject()
    later()
    process_pending_actions()
    assert scan_levels() == []


def test_rest_beside_a_persons_exit_is_closed(bought: ExecutionPosition, runtime: Any) -> None:
    factories.close_signal(Signal.objects.get())
    reject()
    later()
    services.close_positions([bought.pk], fraction=D("0.3"))
    [completing] = scan_levels()
    assert Order.objects.get(pk=completing).quantity == 70


def test_close_signal_is_completed(bought: ExecutionPosition, runtime: Any) -> None:
    signal = Signal.objects.get()
    factories.close_signal(signal)
    reject()
    later()
    assert len(scan_levels()) == 1
