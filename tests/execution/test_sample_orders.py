"""The sample order of an account: the usual way, once, on paper and demo accounts only."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.db import connection as database

from brokers.types import ReportKind
from common.clocks import MarketClock, set_market_clock
from common.errors import ConflictError, FillcastError, InvalidInputError, NotAllowedError
from common.permissions import Scope
from common.reason_codes import Code
from connections.models import AccountSnapshot, ExecutionConnection, Instrument, Subscription
from connections.services import RouteAccount, pause, set_kill_switch, set_route, subscribe
from execution.audit.counters import audit
from execution.models import Order
from execution.monitoring.pending_actions import process_pending_actions
from execution.sample_orders import Sample, close_sample, newest_sample, place_sample, smallest
from positions.models import ExecutionPosition
from prices.models import LatestQuote
from signals.feeds.services import update_feed
from signals.models import Feed, Signal
from tests.connections import make
from tests.execution import factories
from tests.execution.fake_broker import BOOK, FakeBroker
from tests.operational import set_setting
from users.models import User

pytestmark = pytest.mark.django_db
BITCOIN = "BTC/USD"  # always traded


@pytest.fixture
def account(broker: FakeBroker) -> ExecutionConnection:
    """A demo account that trades bitcoin, at least 0.002 of it."""
    factories.instrument(
        BITCOIN, quantity_min=D("0.002"), quantity_step=D("0.001"), contract_size=D(1), pip=D(1)
    )
    found = factories.account(snapshot_demo=True)
    factories.quote(found, "10000", "10001", BITCOIN)
    return found


def owner(account: ExecutionConnection) -> User:
    assert account.user is not None
    return account.user


def place(account: ExecutionConnection, **more: Any) -> Sample:
    sample, is_new = place_sample(account.pk, by=owner(account), **more)
    assert is_new
    return sample


def now(account: ExecutionConnection) -> Sample:
    found = newest_sample(account.pk)
    assert found is not None
    return found


def reached(sample: Sample) -> list[str]:
    return [step.key for step in sample.steps if step.at is not None]


def refused(account: ExecutionConnection, **more: Any) -> FillcastError:
    """Return why a sample order is refused. Nothing of it is left."""
    with pytest.raises(FillcastError) as error:
        place_sample(account.pk, by=owner(account), **more)
    assert not Order.objects.filter(connection=account).exists()
    assert not Signal.objects.filter(feed__owner=owner(account)).exists()
    return error.value


def test_sample_order_takes_the_usual_way_and_closes(account: ExecutionConnection) -> None:
    sample = place(account)
    assert (sample.state, sample.may_close) == ("PLACED", True)
    assert reached(sample) == ["created", "enqueued"]
    factories.fill_all()
    filled = now(account)
    assert (filled.state, filled.order.quantity, filled.order.pair) == ("OPEN", D("0.002"), BITCOIN)
    assert reached(filled) == [
        "created", "enqueued", "validated", "submitted", "acknowledged", "filled",
    ]  # fmt: skip
    times = [step.ms for step in filled.steps if step.ms is not None]
    assert times == sorted(times)
    closing = close_sample(account.pk, by=owner(account))
    assert (closing.state, closing.may_close) == ("CLOSING", False)
    factories.fill_all()
    closed = now(account)
    assert closed.state == "CLOSED"
    assert reached(closed)[-3:] == ["close_created", "close_submitted", "close_filled"]
    assert closed.position is not None
    assert closed.position.close_reason == "owner"
    report = audit()
    assert (report.ok, report.candidates) == (True, 1)


def test_second_press_returns_the_open_sample_order(account: ExecutionConnection) -> None:
    first = place(account, request_id="a")
    assert place_sample(account.pk, by=owner(account), request_id="b") == (first, False)
    factories.fill_all()
    again, is_new = place_sample(account.pk, by=owner(account))
    assert (again.order.pk, is_new) == (first.order.pk, False)
    assert Order.objects.count() == 1


def test_form_sent_again_after_the_close_places_nothing(account: ExecutionConnection) -> None:
    place(account, request_id="a")
    factories.fill_all()
    close_sample(account.pk, by=owner(account))
    factories.fill_all()
    again, is_new = place_sample(account.pk, by=owner(account), request_id="a")
    assert (again.state, is_new) == ("CLOSED", False)
    assert place(account, request_id="b").state == "PLACED"


@pytest.mark.django_db(transaction=True)
def test_two_presses_at_once_place_one_order(account: ExecutionConnection) -> None:
    def press(_: int) -> bool:
        try:
            return place_sample(account.pk, by=owner(account))[1]
        finally:
            database.close()

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(press, range(4))) == [False, False, False, True]
    assert Order.objects.count() == 1


def test_second_close_requests_no_second_exit(account: ExecutionConnection) -> None:
    place(account)
    factories.fill_all()
    for _ in range(2):
        assert close_sample(account.pk, by=owner(account)).state == "CLOSING"
    assert Order.objects.exits().count() == 1
    factories.fill_all()
    with pytest.raises(ConflictError) as error:
        close_sample(account.pk, by=owner(account))
    assert error.value.code is Code.SAMPLE_NOT_OPEN


@pytest.mark.usefixtures("runtime")
def test_close_while_it_is_sent_closes_what_it_fills(account: ExecutionConnection) -> None:
    place(account)
    [sent] = factories.claim_all()
    closing = close_sample(account.pk, by=owner(account))
    assert (closing.state, closing.order.pending_action) == ("CLOSING", "CLOSE")
    factories.answer(sent, factories.fake_broker().fill_at_once(sent.request))
    assert now(account).state == "CLOSING"
    process_pending_actions()
    factories.fill_all()
    assert now(account).state == "CLOSED"


def test_rest_that_is_cancelled_leaves_an_open_sample_order(account: ExecutionConnection) -> None:
    place(account)
    factories.claim_all()
    order = Order.objects.get()
    factories.apply(factories.fill_report(order, "0.001", "f1", price="10001"))
    factories.apply(factories.report(order, ReportKind.CANCELLED))
    assert (now(account).order.status, now(account).state) == ("CANCELLED", "OPEN")


def test_access_to_a_live_account_denies_a_waiting_entry(account: ExecutionConnection) -> None:
    """Its credentials were changed after it was placed, and the account was tested again."""
    place(account)
    AccountSnapshot.objects.filter(connection=account).update(demo=False)
    assert factories.claim_all() == []
    assert (now(account).order.status, now(account).order.reason) == ("DENIED", "SAMPLE_NEEDS_DEMO")


def test_sample_orders_have_no_route(account: ExecutionConnection) -> None:
    place(account)
    close_sample(account.pk, by=owner(account))
    live = factories.account(owner=owner(account))
    taken = Subscription.objects.get(connection=account)
    with pytest.raises(ConflictError) as error:
        set_route(
            taken.pk, by=owner(account), policy="HEALTH",
            accounts=[RouteAccount(one.pk, 0, {}) for one in (live, account)],
        )  # fmt: skip
    assert error.value.code is Code.STATE_CONFLICT


def test_sample_orders_count_for_no_quota(account: ExecutionConnection) -> None:
    set_setting("users.quotas", {"feeds": 0, "subscriptions": 0})
    assert place(account).state == "PLACED"


def test_sample_order_may_repeat_an_entry(account: ExecutionConnection) -> None:
    set_setting("idempotency.dedupe_by", ("symbol", "direction"))
    for _ in range(2):
        place(account)
        close_sample(account.pk, by=owner(account))


def test_own_subscription_of_its_feed_places_nothing(account: ExecutionConnection) -> None:
    place(account)
    close_sample(account.pk, by=owner(account))
    Subscription.objects.update(demo_only=False)
    with pytest.raises(ConflictError) as error:
        place_sample(account.pk, by=owner(account))
    assert error.value.code is Code.STATE_CONFLICT


def test_older_form_sent_again_places_nothing(account: ExecutionConnection) -> None:
    for request_id in ("a", "b"):
        place(account, request_id=request_id)
        close_sample(account.pk, by=owner(account))
    again, is_new = place_sample(account.pk, by=owner(account), request_id="a", pair="EUR/USD")
    assert (again.signal.external_id, is_new) == ("sample-a", False)
    assert Order.objects.count() == 2


def test_close_before_the_fill_cancels_the_sample_order(account: ExecutionConnection) -> None:
    place(account)
    closed = close_sample(account.pk, by=owner(account))
    assert (closed.state, closed.order.status) == ("NOT_FILLED", "CANCELLED")
    assert factories.claim_all() == []


def test_sample_order_closes_by_itself_on_request(account: ExecutionConnection) -> None:
    place(account, close_after_seconds=60)
    factories.fill_all()
    position = ExecutionPosition.objects.get()
    assert position.close_at is not None
    assert timedelta(seconds=50) < position.close_at - position.opened_at < timedelta(seconds=70)


@pytest.mark.parametrize("demo", [False, None])
def test_account_that_is_not_known_as_demo_is_refused(
    account: ExecutionConnection, demo: bool | None
) -> None:
    AccountSnapshot.objects.filter(connection=account).update(demo=demo)
    assert refused(account).code is Code.SAMPLE_NEEDS_DEMO


def test_paper_account_needs_no_statement_of_its_broker(account: ExecutionConnection) -> None:
    AccountSnapshot.objects.filter(connection=account).update(demo=None)
    ExecutionConnection.objects.filter(pk=account.pk).update(type="paper")
    assert place(account).state == "PLACED"


def test_paused_account_is_refused(account: ExecutionConnection) -> None:
    pause(account.pk, by=owner(account))
    assert refused(account).code is Code.CONNECTION_PAUSED


@pytest.mark.parametrize(
    ("mode", "code"),
    [("HALTED", Code.TRADING_HALTED), ("REDUCING", Code.ENTRIES_HALTED)],
)
def test_kill_switch_refuses_a_sample_order(
    account: ExecutionConnection, mode: str, code: Code
) -> None:
    set_kill_switch(scope="ALL", mode=mode, reason="test", by=make.user(is_staff=True))
    assert refused(account).code is code


def test_closed_market_is_refused_with_its_opening(account: ExecutionConnection) -> None:
    Instrument.objects.filter(pair=BITCOIN).delete()
    saturday = datetime(2026, 11, 28, 12, tzinfo=UTC)
    set_market_clock(MarketClock(saturday, datetime.now(UTC), 1))
    try:
        factories.instrument()
        factories.quote(account)
        error = refused(account)
    finally:
        set_market_clock(None)
    assert (error.code, error.detail) == (
        Code.SAMPLE_MARKET_CLOSED, "EUR/USD opens at 22:00 UTC on 29 November.",
    )  # fmt: skip


def test_open_market_is_chosen_before_a_closed_one(account: ExecutionConnection) -> None:
    saturday = datetime(2026, 11, 28, 12, tzinfo=UTC)
    set_market_clock(MarketClock(saturday, datetime.now(UTC), 1))
    try:
        factories.instrument()
        factories.quote(account)
        factories.quote(account, "10000", "10001", BITCOIN)
        assert place(account).order.pair == BITCOIN
    finally:
        set_market_clock(None)


def test_symbol_of_another_broker_is_refused(account: ExecutionConnection) -> None:
    error = refused(account, pair="SOL/USD")
    assert isinstance(error, InvalidInputError)
    assert (error.code, error.field) == (Code.SYMBOL_NOT_AT_BROKER, "symbol")


def test_old_price_is_refused(account: ExecutionConnection) -> None:
    LatestQuote.objects.filter(symbol=BITCOIN).update(time=datetime.now(UTC) - timedelta(hours=1))
    assert refused(account).code is Code.QUOTE_STALE


def test_feed_that_others_take_places_nothing(account: ExecutionConnection) -> None:
    """A live account that was subscribed to it must not trade a sample order."""
    place(account)
    close_sample(account.pk, by=owner(account))
    feed = Feed.objects.get(owner=owner(account))
    live = factories.account(user=owner(account))
    subscribe(connection_id=live.pk, feed_id=feed.pk, by=None)
    with pytest.raises(ConflictError) as error:
        place_sample(account.pk, by=owner(account))
    assert error.value.code is Code.STATE_CONFLICT
    assert not Order.objects.filter(connection=live).exists()


def test_archived_feed_is_used_again(account: ExecutionConnection) -> None:
    place(account)
    close_sample(account.pk, by=owner(account))
    feed = Feed.objects.get(owner=owner(account))
    update_feed(feed.pk, by=owner(account), archived_at=datetime.now(UTC))
    place(account)
    assert Subscription.objects.filter(archived_at=None).count() == 1


def test_operator_account_gets_its_own_order_alone(account: ExecutionConnection) -> None:
    admin = make.user(is_staff=True)
    factories.account(user=None, admin=admin)  # takes what reaches operators' accounts
    ExecutionConnection.objects.filter(pk=account.pk).update(user=None, admin=admin)
    place_sample(account.pk, by=admin)
    assert Order.objects.get().connection_id == account.pk


def test_other_tenant_may_neither_place_nor_close(account: ExecutionConnection) -> None:
    place(account)
    for act in (place_sample, close_sample):
        call: Callable[..., Any] = act
        with pytest.raises(NotAllowedError):
            call(account.pk, by=make.user())


@pytest.mark.parametrize(
    ("closable", "worth", "entry_worth", "least"),
    [
        ("0", "0", "0", "0.002"), ("0.002", "0", "0", "0.003"), ("0.001", "50", "50", "0.006"),
        ("0", "0", "100", "0.011"),
    ],
)  # fmt: skip
def test_smallest_quantity_is_taken_and_can_be_closed(
    closable: str, worth: str, entry_worth: str, least: str
) -> None:
    of = Instrument(
        book=BOOK, quantity_min=D("0.002"), quantity_step=D("0.001"), close_min=D(closable),
        close_worth_min=D(worth), worth_min=D(entry_worth),
    )  # fmt: skip
    assert smallest(of, D(10_000)) == D(least)


def test_key_with_the_scope_trade_places_and_closes(account: ExecutionConnection) -> None:
    by = owner(account)
    by.key_scopes = frozenset({Scope.TRADE})
    assert place_sample(account.pk, by=by)[1]
    assert close_sample(account.pk, by=by).state == "NOT_FILLED"
    by.key_scopes = frozenset({Scope.OPERATE})
    with pytest.raises(NotAllowedError):
        place_sample(account.pk, by=by)
