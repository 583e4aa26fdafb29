"""A loss limit pauses entries, and may close positions. Exits go on. It ends by rule or by hand."""

import os
import signal
import subprocess
import sys
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from brokers.types import AccountState, PositionMode
from common.clocks import market_now
from common.errors import InvalidInputError, NotAllowedError
from connections import services
from connections.accounts.limit_scope import LIMITED_ACCOUNTS
from connections.loss_limits.figures import limits_of
from connections.models import (
    AccountHistory,
    AccountSnapshot,
    ExecutionConnection,
    LossLimit,
    Subscription,
    TradingPause,
)
from events.models import Event
from execution.models import ExecutionLog, Order
from execution.monitoring import loss_limits
from execution.monitoring.loss_limits import apply_loss_limits, limit_states
from execution.services import close_position
from execution.submission.claim import claim
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.changes.races import meet
from tests.connections import make
from tests.execution import factories
from tests.loss_limits import cash_flow_of, limit_of

pytestmark = pytest.mark.django_db
OF_EQUITY = {"name": "Fall of the equity from its first value in the trading day", "unit": "USD"}


@pytest.fixture(autouse=True)
def instrument() -> None:
    factories.register()
    factories.instrument()


@pytest.fixture
def feed() -> Feed:
    return make.feed()


@pytest.fixture
def account(feed: Feed) -> ExecutionConnection:
    """An account with a balance and an equity of 10,000 since a second ago."""
    row = factories.account_within_day(feed)
    AccountSnapshot.objects.filter(connection=row).update(
        read_at=market_now() - timedelta(minutes=2)
    )
    read(row, "10000")
    return row


def read(
    account: ExecutionConnection, equity: str, balance: str = "10000", currency: str = "USD"
) -> None:
    """Store what the broker reports now."""
    now = market_now()
    state = AccountState(
        account=account.account, currency=currency, balance=D(balance), equity=D(equity),
        margin_used=D(0), free_margin=D(equity), leverage=D(30),
        position_mode=PositionMode.HEDGING, time=now,
    )  # fmt: skip
    services.store_account_state(account.pk, state, read_at=now)


def limit(account: ExecutionConnection, **fields: Any) -> LossLimit:
    assert account.preset is not None
    return limit_of(account.preset, **{"unit": "AMOUNT", "maximum": D(500), **fields})


def pauses(account: ExecutionConnection) -> list[TradingPause]:
    return list(TradingPause.objects.filter(connection=account, ended_at=None))


def position(account: ExecutionConnection, feed: Feed, **fields: Any) -> ExecutionPosition:
    signal = factories.signal(feed)
    now = market_now()
    values: dict[str, Any] = {
        "pair": "EUR/USD", "symbol": "EURUSD", "side": "BUY", "quantity": D(100),
        "opened_quantity": D(100), "entry_price": D("1.1"), "pip": D("0.0001"),
        "conversion_rate": D(1), "opened_at": now, "price_source": account.data_connection,
        "broker_position_id": f"T{signal.pk}",
    } | fields  # fmt: skip
    return ExecutionPosition.objects.create(connection=account, signal=signal, **values)


def closed(account: ExecutionConnection, feed: Feed, result: str) -> ExecutionPosition:
    """Store a position that was closed now, with this result."""
    return position(
        account, feed, quantity=D(0), closed_at=market_now(), realized_pnl=D(result),
        close_reason="sl",
    )  # fmt: skip


def entry(account: ExecutionConnection, feed: Feed) -> Order:
    """Publish a signal; return the account's entry as the claim has decided it."""
    signal = factories.signal(feed)
    order = Order.objects.get(signal=signal, connection=account)
    claim([order.pk], worker_id=factories.OWNER)
    return Order.objects.get(pk=order.pk)


def test_equity_at_the_limit_pauses_entries(account: ExecutionConnection, feed: Feed) -> None:
    limit(account)
    read(account, "9500.01")
    assert apply_loss_limits() == []
    assert pauses(account) == []
    assert entry(account, feed).status == "SUBMITTING"
    read(account, "9500")
    apply_loss_limits()
    (pause,) = pauses(account)
    detail = "Fall of the equity from its first value in the trading day: 500 USD, maximum 500 USD"
    assert (pause.code, pause.value, pause.maximum, pause.detail) == (
        "LOSS_LIMIT", D(500), D(500), detail,
    )  # fmt: skip
    assert pause.until is not None and pause.until > pause.since  # noqa: PT018  # for mypy
    event = Event.objects.get(kind="loss_limit.reached")
    assert (event.user_id, event.connection_id) == (account.user_id, account.pk)
    assert event.payload["detail"] == detail
    line = ExecutionLog.objects.get(code="LOSS_LIMIT", order_id=None)
    assert line.numbers == {"value": "500", "maximum": "500", **OF_EQUITY}
    skipped = entry(account, feed)
    assert (skipped.status, skipped.reason, skipped.detail) == ("SKIPPED", "LOSS_LIMIT", detail)


def test_entry_that_waits_is_denied_with_value_and_maximum(
    account: ExecutionConnection, feed: Feed
) -> None:
    limit(account)
    order = Order.objects.get(signal=factories.signal(feed))
    read(account, "9400")
    apply_loss_limits()
    assert claim([order.pk], worker_id=factories.OWNER).outgoing == []
    order.refresh_from_db()
    assert (order.status, order.reason) == ("DENIED", "LOSS_LIMIT")
    line = ExecutionLog.objects.get(order_id=order.pk, code="LOSS_LIMIT")
    assert line.numbers == {"value": "600", "maximum": "500", **OF_EQUITY}


def test_entry_published_during_a_pause_is_not_sent_after_it(
    account: ExecutionConnection, feed: Feed
) -> None:
    limit(account)
    order = Order.objects.get(signal=factories.signal(feed))
    read(account, "9400")
    apply_loss_limits()
    (pause,) = pauses(account)
    assert services.resume_after_limit(pause.pk, by=account.user)
    assert claim([order.pk], worker_id=factories.OWNER).outgoing == []
    order.refresh_from_db()
    assert (order.status, order.reason) == ("DENIED", "LOSS_LIMIT")
    assert entry(account, feed).status == "SUBMITTING"  # the next signal is


def test_exit_is_sent_during_a_pause(account: ExecutionConnection, feed: Feed) -> None:
    limit(account)
    held = position(account, feed)
    read(account, "9400")
    apply_loss_limits()
    [order_id] = close_position(held.pk)
    claim([order_id], worker_id=factories.OWNER)
    assert Order.objects.get(pk=order_id).reason != "LOSS_LIMIT"
    assert Order.objects.get(pk=order_id).status in ("SUBMITTING", "PENDING")


def test_pause_and_close_closes_positions_and_withdraws_entries(
    account: ExecutionConnection, feed: Feed
) -> None:
    limit(account, action="PAUSE_AND_CLOSE")
    held = position(account, feed)
    sent = entry(account, feed)
    assert sent.status == "SUBMITTING"
    read(account, "9400")
    exits = apply_loss_limits()
    (exit_,) = Order.objects.filter(position=held)
    assert [exit_.pk] == exits
    assert (exit_.leg, exit_.quantity, exit_.status) == ("loss-1", D(100), "PENDING")
    sent.refresh_from_db()
    assert sent.pending_action == "CLOSE"
    assert apply_loss_limits() == []  # once


def test_second_check_writes_no_second_pause(account: ExecutionConnection, feed: Feed) -> None:
    limit(account)
    for equity in ("9400", "9300"):
        read(account, equity)
        apply_loss_limits()
    assert loss_limits.pause_account(account.pk) == []
    assert len(pauses(account)) == 1
    assert Event.objects.filter(kind="loss_limit.reached").count() == 1


@pytest.mark.django_db(transaction=True)
def test_entry_that_is_being_claimed_while_its_account_is_paused_is_withdrawn(
    account: ExecutionConnection, feed: Feed
) -> None:
    limit(account, action="PAUSE_AND_CLOSE")
    order = Order.objects.get(signal=factories.signal(feed), connection=account)
    read(account, "9400")
    meet(
        lambda: claim([order.pk], worker_id=factories.OWNER),
        lambda: loss_limits.pause_account(account.pk),
    )
    order.refresh_from_db()
    assert (order.status, order.pending_action) == ("SUBMITTING", "CLOSE")


@pytest.mark.django_db(transaction=True)
def test_second_process_that_pauses_at_the_same_time_writes_nothing(
    account: ExecutionConnection,
) -> None:
    limit(account)
    read(account, "9400")

    def pause() -> list[int]:
        return loss_limits.pause_account(account.pk)

    assert meet(pause, pause) == ("[]", "[]")
    assert len(pauses(account)) == 1


def test_check_that_dies_leaves_nothing_and_is_repeated(
    account: ExecutionConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(account)
    read(account, "9400")

    def die(pause: TradingPause, _currency: str) -> None:
        raise DatabaseError(pause.detail)

    with monkeypatch.context() as patched:
        patched.setattr(loss_limits, "_add_to_log", die)  # after the pause was written
        assert apply_loss_limits() == []
    assert pauses(account) == []
    assert not Event.objects.filter(kind="loss_limit.reached").exists()
    apply_loss_limits()
    assert len(pauses(account)) == 1


CHECK = (
    "import django; django.setup();"
    " from tests.execution import factories; factories.register();"
    " from execution.monitoring.loss_limits import apply_loss_limits; apply_loss_limits()"
)


@pytest.mark.django_db(transaction=True)
def test_process_killed_while_it_pauses_leaves_nothing_and_the_account_is_due(
    account: ExecutionConnection, feed: Feed
) -> None:
    """It dies after the pause, the event, the log line and the exits are written."""
    limit(account, action="PAUSE_AND_CLOSE")
    held = position(account, feed)
    read(account, "9400")
    at = connection.settings_dict
    environment = {
        **os.environ, "FILLCAST_REHEARSAL": "failpoints=exits.written:kill",
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DATABASE_URL": f"postgresql://{at['USER']}:{at['PASSWORD']}@{at['HOST']}:{at['PORT']}"
                        f"/{at['NAME']}",
    }  # fmt: skip
    command = [sys.executable, "-c", CHECK]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    assert b"exits.written" in done.stderr
    assert pauses(account) == []
    assert not Event.objects.filter(kind="loss_limit.reached").exists()
    assert not ExecutionLog.objects.filter(code="LOSS_LIMIT").exists()
    assert not Order.objects.filter(position=held).exists()
    assert AccountSnapshot.objects.get(connection=account).limits_checked_for is None
    (exit_id,) = apply_loss_limits()
    assert Order.objects.get(position=held).pk == exit_id
    assert len(pauses(account)) == 1


def test_pause_ends_with_its_window_once(account: ExecutionConnection, feed: Feed) -> None:
    limit(account)
    read(account, "9400")
    apply_loss_limits()
    TradingPause.objects.update(until=market_now() + timedelta(minutes=1))
    assert services.end_due_pauses() == 0
    over = market_now() - timedelta(milliseconds=1)
    TradingPause.objects.update(until=over)
    assert [services.end_due_pauses() for _ in range(2)] == [1, 0]
    pause = TradingPause.objects.get()
    assert (pause.ended_at, pause.is_resumed_by_hand) == (over, False)
    assert Event.objects.filter(kind="trading.resumed").count() == 1


def test_losses_before_a_resume_by_hand_do_not_count(
    account: ExecutionConnection, feed: Feed
) -> None:
    limit(account, resume="BY_HAND", window="LIFETIME")
    read(account, "9400")
    apply_loss_limits()
    (pause,) = pauses(account)
    assert pause.until is None
    assert services.resume_after_limit(pause.pk, by=account.user)
    assert not services.resume_after_limit(pause.pk, by=account.user)
    for equity, reached in (("9400", 0), ("8901", 0), ("8900", 1)):
        read(account, equity)
        apply_loss_limits()
        assert len(pauses(account)) == reached, equity


def test_other_users_do_not_resume(account: ExecutionConnection) -> None:
    limit(account)
    read(account, "9400")
    apply_loss_limits()
    (pause,) = pauses(account)
    with pytest.raises(NotAllowedError):
        services.resume_after_limit(pause.pk, by=make.user("bob"))


def test_withdrawal_is_no_loss_and_deposit_hides_none(account: ExecutionConnection) -> None:
    limit(account)
    cash_flow_of(account, "-3000")
    read(account, "7000", balance="7000")
    apply_loss_limits()
    assert pauses(account) == []
    cash_flow_of(account, "5000")
    read(account, "11500", balance="11500")
    apply_loss_limits()
    assert len(pauses(account)) == 1


def test_drawdown_counts_from_the_peak(account: ExecutionConnection) -> None:
    limit(account, basis="PEAK")
    for equity, reached in (("10800", 0), ("10301", 0), ("10300", 1)):
        read(account, equity)
        apply_loss_limits()
        assert len(pauses(account)) == reached, equity
    assert pauses(account)[0].code == "DRAWDOWN_LIMIT"


def test_peak_before_a_withdrawal_is_lowered_by_it(account: ExecutionConnection) -> None:
    limit(account, basis="PEAK")
    read(account, "10800")
    cash_flow_of(account, "-2000")
    for equity, reached in (("8301", 0), ("8300", 1)):  # 10,800 - 2,000 - 500
        read(account, equity)
        apply_loss_limits()
        assert len(pauses(account)) == reached, equity


@pytest.mark.parametrize(
    ("before", "flow", "after", "maximum"),
    [
        (["10000"], "5000", ["14000"], 1000),  # the first value was the highest: 15,000 with it
        (["12000"], "5000", ["16500", "14000"], 3000),  # 17,000
        (["12000"], "-5000", ["8000", "7100"], 900),  # 8,000 of later, not 7,000
    ],
)
def test_peak_is_known_of_a_flow_that_is_entered_later(
    account: ExecutionConnection, before: list[str], flow: str, after: list[str], maximum: int
) -> None:
    """The balance is 10,000 and all trades stay open; the states that show the flow come first."""
    row = limit(account, basis="PEAK", measure="EQUITY", maximum=D(maximum))
    for equity in before:
        read(account, equity)
    at = market_now()
    balance = str(10_000 + D(flow))
    for equity in after:
        read(account, equity, balance)
    services.record_cash_flow(account.pk, amount=D(flow), by=account.user, at=at)
    read(account, after[-1], balance)
    apply_loss_limits()
    (state,) = limit_states(account.pk)
    assert (state.limit_id, state.value) == (row.pk, D(maximum))
    assert len(pauses(account)) == 1


def test_small_flow_that_is_entered_later_leaves_the_first_value(
    account: ExecutionConnection,
) -> None:
    """Below 1 % of the equity it begins no period: the row's first and highest values count."""
    limit(account, basis="PEAK", measure="EQUITY", maximum=D(30))
    at = market_now()
    read(account, "10050", "10080")
    services.record_cash_flow(account.pk, amount=D(80), by=account.user, at=at)
    read(account, "10050", "10080")
    apply_loss_limits()
    assert [pause.value for pause in pauses(account)] == [D(30)]


@pytest.mark.parametrize("basis", ["OPENING", "PEAK"])
def test_amounts_in_another_currency_are_not_compared(
    account: ExecutionConnection, basis: str
) -> None:
    """10,000 USD were there; the account is in euros since. Its first state in them counts."""
    limit(account, basis=basis, measure="EQUITY")
    for equity, reached in (("9000", 0), ("8501", 0), ("8500", 1)):
        read(account, equity, currency="EUR")
        apply_loss_limits()
        assert len(pauses(account)) == reached, equity


def test_losses_before_the_window_do_not_count(account: ExecutionConnection) -> None:
    limit(account, window="DAY")
    AccountHistory.objects.update(period_start=market_now() - timedelta(hours=26))
    read(account, "9400")
    apply_loss_limits()
    assert pauses(account) == []


def test_closed_trades_count_as_realized_loss(account: ExecutionConnection, feed: Feed) -> None:
    limit(account, measure="REALIZED_LOSS")
    closed(account, feed, "-499.99")
    apply_loss_limits()
    assert pauses(account) == []
    closed(account, feed, "-0.01")
    apply_loss_limits()
    (pause,) = pauses(account)
    assert (pause.code, pause.value) == ("REALIZED_LOSS_LIMIT", D(500))


def test_losing_streak_ends_with_a_trade_that_is_no_loss(
    account: ExecutionConnection, feed: Feed
) -> None:
    limit(account, measure="LOSING_STREAK", unit="TRADES", maximum=D(2))
    for result, reached in (("-1", 0), ("0", 0), ("-1", 0), ("-1", 1)):
        closed(account, feed, result)
        apply_loss_limits()
        assert len(pauses(account)) == reached, result


def test_limit_of_a_subscription_pauses_only_its_feed(
    account: ExecutionConnection, feed: Feed
) -> None:
    other = make.feed()
    make.subscription(account, other)
    subscription = Subscription.objects.get(connection=account, feed=feed)
    LossLimit.objects.create(
        subscription=subscription, measure="REALIZED_LOSS", unit="AMOUNT", maximum=D(100)
    )
    closed(account, other, "-900")
    apply_loss_limits()
    assert pauses(account) == []
    closed(account, feed, "-100")
    apply_loss_limits()
    assert [pause.subscription for pause in pauses(account)] == [subscription]
    assert Event.objects.get(kind="loss_limit.reached").payload["feed"] == feed.slug
    assert entry(account, feed).status == "SKIPPED"
    assert entry(account, other).status == "SUBMITTING"


def test_limit_of_a_route_that_begins_later_counts_on_each_of_its_accounts_at_once(
    account: ExecutionConnection, feed: Feed
) -> None:
    other = factories.account_within_day(owner=account.user)
    AccountSnapshot.objects.filter(connection=other).update(
        read_at=market_now() - timedelta(minutes=2)
    )
    subscription = Subscription.objects.get(connection=account, feed=feed)
    both = [account, other]
    services.set_route(
        subscription.pk, by=account.user, policy="HEALTH",
        accounts=[services.RouteAccount(row.pk) for row in both],
    )  # fmt: skip
    for row in both:
        read(row, "10000")
    limit_of(
        None, subscription=subscription, unit="AMOUNT", maximum=D(500), measure="EQUITY",
        started_at=market_now(),
    )  # fmt: skip
    for equity in ("10000", "9400"):
        for row in both:
            read(row, equity)
    apply_loss_limits()
    assert [[pause.value for pause in pauses(row)] for row in both] == [[D(600)], [D(600)]]


@pytest.mark.parametrize("ended", [False, True])
def test_limited_accounts_are_those_that_a_limit_applies_to(
    account: ExecutionConnection, feed: Feed, ended: bool
) -> None:
    by_route, by_preset = factories.account(owner=account.user), factories.account()
    factories.account(owner=account.user)  # without
    subscription = Subscription.objects.get(connection=account, feed=feed)
    services.set_route(
        subscription.pk, by=account.user, policy="HEALTH",
        accounts=[services.RouteAccount(row.pk) for row in (account, by_route)],
    )  # fmt: skip
    limit_of(None, subscription=subscription)
    limit(by_preset)
    if ended:
        Subscription.objects.filter(pk=subscription.pk).update(archived_at=market_now())
    every = list(ExecutionConnection.objects.values_list("pk", flat=True))
    applied = {row.connection_id for row in limits_of(every)}
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT id FROM {LIMITED_ACCOUNTS} limited")
        assert {pk for (pk,) in cursor.fetchall()} == applied
    assert applied == {by_preset.pk} | (set() if ended else {account.pk, by_route.pk})


def test_subscription_may_only_be_tighter_than_its_preset(account: ExecutionConnection) -> None:
    limit(account)
    subscription = Subscription.objects.get(connection=account)

    def add(maximum: str, unit: str = "AMOUNT") -> None:
        services.add_loss_limit(
            LossLimit(subscription=subscription, unit=unit, maximum=D(maximum)), by=account.user
        )

    with pytest.raises(InvalidInputError) as looser:
        add("500.01")
    assert (looser.value.field, "500" in looser.value.detail) == ("maximum", True)
    with pytest.raises(InvalidInputError) as other_unit:
        add("4", "PERCENT")
    assert other_unit.value.field == "unit"
    add("500")


def test_states_show_the_present_value(account: ExecutionConnection) -> None:
    limit(account)
    read(account, "9876.50")
    (state,) = limit_states(account.pk)
    assert (state.value, state.maximum, state.is_paused) == (D("123.5"), D(500), False)


def test_account_without_limits_is_not_due(account: ExecutionConnection) -> None:
    read(account, "1")
    apply_loss_limits()
    assert AccountSnapshot.objects.get(connection=account).limits_checked_for is None
    assert pauses(account) == []


def test_account_is_checked_once_for_each_state(account: ExecutionConnection) -> None:
    limit(account)
    apply_loss_limits()
    snapshot = AccountSnapshot.objects.get(connection=account)
    assert snapshot.limits_checked_for == snapshot.read_at
    with transaction.atomic():
        assert services.end_due_pauses() == 0
