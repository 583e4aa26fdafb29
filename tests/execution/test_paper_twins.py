"""Paper twins: started once, reached by the ordinary fan-out, counted nowhere, wound up."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal as D
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.db import IntegrityError, connection, transaction
from django.test import Client, RequestFactory
from django.urls import reverse
from nacl.public import PrivateKey

from analytics.compare.twins import compare
from analytics.models import SignalQuality
from analytics.orders.followers import results_of
from analytics.results.reports import report_accounts
from analytics.services import compute_signal_quality
from brokers.paper.models import PaperAccount
from common.clocks import market_now
from common.errors import ConflictError, FillcastError, InvalidInputError, NotAllowedError
from common.failpoints import AbandonedError, Failpoint, arm
from common.reason_codes import Code
from connections import services
from connections.health.connection_checks import run_test
from connections.market_data.instrument_books import InstrumentBooks
from connections.models import (
    AccountSnapshot,
    ConnectionHealth,
    DataConnection,
    ExecutionConnection,
    Instrument,
    LossLimit,
    Subscription,
    SubscriptionTwin,
    TradingPreset,
    TwinEnd,
)
from connections.selectors import followers_of
from events.models import Channel, Delivery, Event, EventKind, Notification
from events.routing import route_events
from events.services import NewEvent, emit_many
from execution import tasks
from execution.models import Order
from execution.preview import preview
from execution.signal_totals import signal_total
from positions.models import ExecutionPosition
from signals.checks.listings import Reach
from signals.feeds.services import archive_feed
from signals.models import Feed, Signal
from tests.analytics.factories import user
from tests.connections import make
from tests.console import seed
from tests.execution import factories
from tests.html import html_of
from users.models import User

pytestmark = pytest.mark.usefixtures("inline_commits")


@pytest.fixture(autouse=True)
def keys(settings: Any) -> None:
    private = PrivateKey.generate()
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = bytes(private.public_key)
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = [bytes(private)]


@pytest.fixture(autouse=True)
def shared_prices(db: None) -> DataConnection:
    return DataConnection.objects.create(name="Recorded quotes")


@pytest.fixture
def live(alice: ExecutionConnection) -> Subscription:
    TradingPreset.objects.filter(pk=alice.preset_id or 0).update(fixed_quantity=D(1000))
    return Subscription.objects.get(connection=alice)


def owner(live: Subscription) -> User:
    assert live.connection.user is not None
    return live.connection.user


def started(live: Subscription) -> SubscriptionTwin:
    """Click on the button; there was none before."""
    twin, is_new = services.start_twin(live.pk, by=owner(live))
    assert is_new
    return twin


def ready(twin: SubscriptionTwin) -> SubscriptionTwin:
    """Run its test, as a worker does, and give its source prices."""
    run_test(twin.connection_id)
    twin.refresh_from_db()
    ConnectionHealth.objects.filter(pk=twin.connection_id).update(reconciled_at=market_now())
    factories.quote(twin.connection)
    return twin


def orders(signal: Signal) -> dict[Any, Order]:
    return {one.connection_id: one for one in Order.objects.filter(signal=signal, leg="entry")}


# Starting


def test_twin_has_the_money_terms_and_preset_of_its_live_account(live: Subscription) -> None:
    AccountSnapshot.objects.filter(connection=live.connection).update(
        equity=D("9876.543"), leverage=D(50), position_mode="NETTING"
    )
    services.update_subscription(live.pk, by=None, multiplier=D("0.5"), max_open_positions=2)
    twin = started(live)
    account = PaperAccount.objects.get(number=twin.connection.account)
    assert (account.balance, account.currency) == (D("9876.54"), "USD")
    assert (account.leverage, account.position_mode) == (D(50), "NETTING")
    assert twin.connection.preset_id == live.connection.preset_id
    assert twin.connection.type == "paper"
    assert twin.connection.name == f"Paper twin of {live.connection.name}"
    assert (twin.twin.multiplier, twin.twin.limits.max_open_positions) == (D("0.5"), 2)
    assert twin.twin.feed_id == live.feed_id


def test_second_click_returns_the_running_twin(live: Subscription) -> None:
    twin = started(live)
    assert services.start_twin(live.pk, by=owner(live)) == (twin, False)
    assert PaperAccount.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_clicks_at_once_start_one(live: Subscription) -> None:
    def click(_: int) -> tuple[int, bool]:
        try:
            twin, is_new = services.start_twin(live.pk, by=owner(live))
            return twin.pk, is_new
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(click, range(4)))
    assert len({pk for pk, _ in answers}) == 1
    assert sorted(is_new for _, is_new in answers) == [False, False, False, True]
    assert PaperAccount.objects.count() == 1


def test_database_refuses_a_second_running_twin(live: Subscription) -> None:
    twin = started(live)
    other = make.subscription(make.connection(live.connection.user), live.feed)
    with pytest.raises(IntegrityError, match="one_running_twin"), transaction.atomic():
        SubscriptionTwin.objects.create(
            subscription=live, twin=other, connection=other.connection, currency="USD",
            opening_balance=1, started_at=twin.started_at,
        )  # fmt: skip


def test_process_that_dies_meanwhile_leaves_nothing_and_the_next_click_starts_one(
    live: Subscription,
) -> None:
    arm([Failpoint("twin.opened", "abandon")])
    try:
        with pytest.raises(AbandonedError):
            services.start_twin(live.pk, by=owner(live))
    finally:
        arm([])
    assert not PaperAccount.objects.exists()
    assert not SubscriptionTwin.objects.exists()
    assert ExecutionConnection.objects.count() == 1
    started(live)
    assert PaperAccount.objects.count() == 1


def test_another_tenant_may_not(live: Subscription) -> None:
    with pytest.raises(NotAllowedError):
        services.start_twin(live.pk, by=make.user())


def test_operator_starts_no_twin_of_a_tenant(live: Subscription) -> None:
    with pytest.raises(ConflictError) as refused:
        services.start_twin(live.pk, by=make.user(is_staff=True))
    assert refused.value.code is Code.TWIN_NOT_POSSIBLE
    assert not PaperAccount.objects.exists()


@pytest.mark.parametrize(
    "case", ["paper", "paper in its route", "currencies", "ended", "unread", "no money", "limit"]
)
def test_refusals(live: Subscription, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    account = ExecutionConnection.objects.filter(pk=live.connection_id)
    snapshot = AccountSnapshot.objects.filter(connection=live.connection_id)
    code = Code.TWIN_NOT_POSSIBLE
    match case:
        case "paper":
            account.update(type="paper")
        case "paper in its route":
            route(live, factories.account(owner=owner(live), type="paper"))
        case "currencies":
            route(live, factories.account(owner=owner(live), snapshot_currency="EUR"))
        case "ended":
            services.unsubscribe(live.pk, by=None)
            code = Code.STATE_CONFLICT
        case "unread":
            snapshot.delete()
            code = Code.ACCOUNT_NOT_SYNCED
        case "no money":
            snapshot.update(equity=D(-3))
        case "limit":
            monkeypatch.setattr("connections.subscriptions.twins.MAX_TWINS", 0)
            code = Code.TWIN_LIMIT
    with pytest.raises(ConflictError) as refused:
        services.start_twin(live.pk, by=owner(live))
    assert refused.value.code is code
    assert not PaperAccount.objects.exists()
    if case == "currencies":
        assert "of its route counts in EUR" in refused.value.detail


# Beside a route


def route(live: Subscription, *others: ExecutionConnection) -> None:
    accounts = [services.RouteAccount(row.pk) for row in (live.connection, *others)]
    services.set_route(live.pk, by=owner(live), policy="PRICE", accounts=accounts)


def closed_trade(order: Order, gain: int) -> None:
    """Store what became of an entry: 100 units that were closed with this gain."""
    factories.force(
        "UPDATE execution_order SET status = 'FILLED', quantity = 100, filled_quantity = 100,"
        " avg_fill_price = 1.1, filled_at = now(), done_at = now() WHERE id = %s",
        (order.pk,),
    )
    assert order.signal is not None
    ExecutionPosition.objects.create(
        connection=order.connection, signal=order.signal, pair="EUR/USD", symbol="EURUSD",
        side="BUY", quantity=0, opened_quantity=100, entry_price=D("1.1"), pip=D("0.0001"),
        conversion_rate=1, realized_pnl=D(gain), opened_at=market_now(), closed_at=market_now(),
    )  # fmt: skip


def test_live_is_the_account_of_the_route_that_took_the_signal(live: Subscription) -> None:
    other = factories.account(owner=owner(live))
    route(live, other)
    twin = ready(started(live))
    factories.quote(other, "1.0990", "1.0999")
    away = factories.signal(live.feed)
    factories.claim_all()
    factories.quote(live.connection, "1.0990", "1.0998")
    at_home = factories.signal(live.feed)
    factories.claim_all()
    taken = {(one.signal_id, one.route_state): one for one in Order.objects.entries()}
    assert taken[away.pk, "MOVED"].connection_id == live.connection_id
    assert taken[away.pk, "HERE"].connection_id == other.pk
    closed_trade(taken[at_home.pk, "HERE"], 7)
    closed_trade(taken[away.pk, "HERE"], 5)
    for signal in (at_home, away):
        closed_trade(orders(signal)[twin.connection_id], 4)
    with transaction.atomic():
        found = compare(twin)
    assert [one.signal for one in found.signals] == [at_home, away]
    assert [one.live.account for one in found.signals] == [live.connection, other]
    assert [one.live.net for one in found.signals] == [D(7), D(5)]
    assert (found.difference.live, found.difference.twin) == (D(12), D(8))
    assert found.traded == (2, 2)


@pytest.mark.django_db(transaction=True)
def test_twin_goes_on_until_no_account_of_the_route_is_left(live: Subscription) -> None:
    other, by = factories.account(owner=owner(live)), owner(live)
    route(live, other)
    twin = ready(started(live))
    for row, status in ((live.connection, "PENDING"), (other, "SKIPPED")):
        services.set_kill_switch(
            scope="CONNECTION", connection_id=row.pk, mode="REDUCING", reason="x", by=by
        )
        tasks.wind_up_twins()
        assert orders(factories.signal(live.feed))[twin.connection_id].status == status


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("change", [{"is_active": False}, {"is_paused": True}])
def test_account_of_the_route_that_a_person_stopped_is_not_left(
    live: Subscription, change: dict[str, bool]
) -> None:
    other, by = factories.account(owner=owner(live)), owner(live)
    route(live, other)
    twin = ready(started(live))
    ExecutionConnection.objects.filter(pk=other.pk).update(**change)
    tasks.wind_up_twins()
    assert orders(factories.signal(live.feed))[twin.connection_id].status == "PENDING"
    services.set_kill_switch(
        scope="CONNECTION", connection_id=live.connection_id, mode="REDUCING", reason="x", by=by
    )
    tasks.wind_up_twins()
    placed = orders(factories.signal(live.feed))
    assert placed[twin.connection_id].status == "SKIPPED"


def test_new_route_keeps_the_currency_of_a_running_twin(live: Subscription) -> None:
    started(live)
    route(live, factories.account(owner=owner(live)))
    with pytest.raises(InvalidInputError) as refused:
        route(live, factories.account(owner=owner(live), snapshot_currency="EUR"))
    assert "counts in EUR, the running paper twin in USD" in refused.value.detail


def test_new_route_of_a_running_twin_has_no_paper_account(live: Subscription) -> None:
    started(live)
    with pytest.raises(InvalidInputError) as refused:
        route(live, factories.account(owner=owner(live), type="paper"))
    assert "is a paper account, and a paper twin runs" in refused.value.detail


def test_account_of_unknown_currency_is_in_no_comparison(live: Subscription) -> None:
    unread = factories.account(owner=owner(live))
    read = AccountSnapshot.objects.get(connection=unread)
    read.delete()
    route(live, unread)
    with pytest.raises(ConflictError, match="was not read yet"):
        services.start_twin(live.pk, by=owner(live))
    services.set_route(live.pk, by=owner(live), policy="", accounts=[])
    started(live)
    with pytest.raises(InvalidInputError, match="was not read yet"):
        route(live, unread)
    read.connection = unread  # its test has read it
    read.save(force_insert=True)
    route(live, unread)


# Fan-out


@pytest.mark.django_db(transaction=True)
def test_signal_reaches_both(live: Subscription) -> None:
    twin = ready(started(live))
    signal = factories.signal(live.feed)
    assert {*orders(signal)} == {live.connection_id, twin.connection_id}
    assert {one.status for one in orders(signal).values()} == {"PENDING"}


def test_entry_waits_for_the_test_of_a_new_twin(live: Subscription) -> None:
    twin = started(live)
    order = orders(factories.signal(live.feed))[twin.connection_id]
    assert (order.status, order.reason) == ("PENDING", Code.CONNECTION_TEST_PENDING)


@pytest.mark.django_db(transaction=True)
def test_twin_is_sized_by_the_lot_steps_of_the_live_broker(live: Subscription) -> None:
    Instrument.objects.filter(book=live.connection.instrument_book).update(
        quantity_step=D(2500), quantity_min=D(5000)
    )
    twin = ready(started(live))
    twin.connection.refresh_from_db()
    listed = Instrument.objects.get(book=twin.connection.instrument_book, pair="EUR/USD")
    assert twin.connection.instrument_book == f"paper+{live.connection.instrument_book}"
    assert (listed.quantity_step, listed.quantity_min) == (D(5000), D(5000))


# It counts nowhere


def test_it_is_no_follower(live: Subscription) -> None:
    before = followers_of(live.feed_id)
    started(live)
    after = followers_of(live.feed_id)
    assert (after.followers, after.accounts, after.kinds) == (1, 1, before.kinds)


def test_it_is_no_candidate_of_the_signal(live: Subscription) -> None:
    ready(started(live))
    signal = factories.signal(live.feed)
    signal.refresh_from_db()
    assert signal.candidate_count == 1
    close = factories.close_signal(signal)
    close.refresh_from_db()
    assert close.candidate_count == 1


def test_its_symbols_do_not_make_a_signal_valid(live: Subscription) -> None:
    ready(started(live))
    books = InstrumentBooks()
    with transaction.atomic():
        assert books.reach(live.feed, "BTC/USD", None) == Reach(1, 0, 0)
        assert books.names(live.feed, None) == ["EUR/USD"]


def test_providers_do_not_see_its_orders(live: Subscription) -> None:
    ready(started(live))
    signal = factories.signal(live.feed)
    assert results_of([signal])[signal.pk].accounts == 1
    shown = preview(Signal(feed=live.feed, currency_pair="EUR/USD", direction="BUY", action="OPEN"))
    assert (shown.candidates, shown.followers) == (1, 1)


@pytest.mark.django_db(transaction=True)
def test_notional_of_a_signal_leaves_it_out(live: Subscription) -> None:
    Feed.objects.filter(pk=live.feed_id).update(
        max_signal_notional=D(1500), max_signal_currency="USD"
    )
    twin = ready(started(live))
    services.update_subscription(live.pk, by=None, multiplier=D(10))
    signal = factories.signal(Feed.objects.get(pk=live.feed_id))
    factories.claim_all()
    by_account = orders(signal)
    assert by_account[live.connection_id].reason == Code.SIGNAL_NOTIONAL
    assert by_account[twin.connection_id].status == "SUBMITTING"
    assert by_account[twin.connection_id].quantity == 10_000
    assert signal_total(signal).total == 0


@pytest.mark.django_db(transaction=True)
def test_medians_leave_it_out(live: Subscription) -> None:
    twin = ready(started(live))
    signal = factories.signal(live.feed)
    factories.claim_all()
    filled = {"status": "FILLED", "filled_quantity": D(100), "slippage_unit": "PIPS"}
    for pk, slippage in ((live.connection_id, 9), (twin.connection_id, 1)):
        order = Order.objects.filter(signal=signal, connection=pk)
        assert order.update(**filled, slippage_pips=D(slippage)) == 1
    compute_signal_quality()
    found = SignalQuality.objects.get(signal=signal)
    assert (found.persons, found.slippage) == (1, D(9))


def test_my_results_leave_it_out(live: Subscription) -> None:
    started(live)
    mine = ExecutionConnection.objects.filter(user=owner(live))
    assert mine.count() == 2
    assert [one.id for one in report_accounts(mine)] == [live.connection_id]


def test_it_uses_no_place_of_the_paper_accounts(live: Subscription) -> None:
    started(live)
    for _ in range(5):
        services.open_paper_account(by=owner(live))


def test_it_is_not_sent_together_with_live_orders(live: Subscription) -> None:
    ExecutionConnection.objects.filter(pk=live.connection_id).update(aggregation_ms=500)
    assert started(live).connection.aggregation_ms == 0


# It follows


def test_terms_and_limits_follow(live: Subscription) -> None:
    twin = started(live)
    services.update_subscription(live.pk, by=owner(live), multiplier=D(2), directions="BUY")
    limit = services.add_loss_limit(LossLimit(subscription=live, maximum=D(5)), by=owner(live))
    own = Subscription.objects.get(pk=twin.twin_id)
    assert (own.multiplier, own.directions, own.priority) == (D(2), "BUY", 3)
    assert [one.maximum for one in own.loss_limits.all()] == [D(5)]
    services.change_loss_limit(limit.pk, by=owner(live), maximum=D(4))
    assert [one.maximum for one in own.loss_limits.all()] == [D(4)]
    services.delete_loss_limit(limit.pk, by=owner(live))
    assert not own.loss_limits.exists()


def test_limits_that_operators_change_in_the_console_follow(
    live: Subscription, client: Client
) -> None:
    own = Subscription.objects.get(pk=started(live).twin_id)
    limit = services.add_loss_limit(LossLimit(subscription=live, maximum=D(5)), by=owner(live))
    operator = seed.operator()
    client.force_login(operator)
    client.get(reverse("admin:index"))  # loads the lists

    def sent(limit: LossLimit, **changes: Any) -> str:
        page = admin.site.get_model_admin(LossLimit)
        request = RequestFactory().get("/")
        request.user = operator
        form = page.get_form(request, limit, change=True)(instance=limit)
        values = {name: form.get_initial_for_field(field, name)
                  for name, field in form.fields.items()}  # fmt: skip
        known = {name: value for name, value in values.items() if value is not None}
        address = reverse("admin:connections_losslimit_change", args=[limit.pk])
        return html_of(client.post(address, known | changes, follow=True))

    sent(limit, maximum="4")
    assert [one.maximum for one in own.loss_limits.all()] == [D(4)]
    assert "A paper twin follows its live subscription." in sent(own.loss_limits.get(), maximum="9")
    assert [one.maximum for one in own.loss_limits.all()] == [D(4)]
    client.post(reverse("admin:connections_losslimit_delete", args=[limit.pk]), {"post": "yes"})
    assert not own.loss_limits.exists()

    limit = services.add_loss_limit(LossLimit(subscription=live, maximum=D(5)), by=owner(live))
    copy, week = own.loss_limits.get(), "WEEK"
    services.add_loss_limit(LossLimit(subscription=live, maximum=D(9), window=week), by=owner(live))
    assert "Nothing was changed." in sent(limit, window=week)  # it has one of this window
    chosen: dict[str, Any] = {"action": "delete_selected", "post": "yes"}
    every = reverse("admin:connections_losslimit_changelist")
    logged = LogEntry.objects.count()
    refused = client.post(every, chosen | {"_selected_action": [copy.pk]}, follow=True)
    assert "A paper twin follows its live subscription." in html_of(refused)
    assert LogEntry.objects.count() == logged
    client.post(every, chosen | {"_selected_action": [limit.pk, copy.pk]})
    assert [one.window for one in own.loss_limits.all()] == [week]


def test_rows_of_twins_exhaust_no_quota(live: Subscription) -> None:
    """Their owner could not remove them."""
    services.add_loss_limit(LossLimit(subscription=live, maximum=D(5)), by=owner(live))
    before = LossLimit.objects.count()
    twin = started(live)
    assert LossLimit.objects.count() == before + 1
    assert LossLimit.objects.owned_by(owner(live).pk).count() == before
    services.stop_twin(live.pk, by=owner(live))
    assert not LossLimit.objects.filter(subscription=twin.twin_id).exists()
    assert LossLimit.objects.count() == before


def test_preset_follows(live: Subscription) -> None:
    twin = started(live)
    other = make.preset(owner(live), name="careful")
    services.update_connection(live.connection_id, by=owner(live), preset=other)
    twin.connection.refresh_from_db()
    assert twin.connection.preset_id == other.pk


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("how", ["subscription", "account", "halt"])
def test_pause_and_resumption_follow(live: Subscription, how: str) -> None:
    twin, by = ready(started(live)), owner(live)
    if how == "subscription":
        services.pause_subscription(live.pk, by=by)
    elif how == "account":
        services.pause(live.connection_id, by=by)
    else:
        halt = services.set_kill_switch(
            scope="CONNECTION", connection_id=live.connection_id, mode="REDUCING", reason="x", by=by
        )
        tasks.wind_up_twins()  # the sweep: a halt waits for no twin
    order = orders(factories.signal(live.feed))[twin.connection_id]
    assert (order.status, order.reason) == ("SKIPPED", Code.SUBSCRIPTION_PAUSED)
    if how == "subscription":
        services.resume_subscription(live.pk, by=by)
    elif how == "account":
        services.resume(live.connection_id, by=by)
    else:
        services.release_kill_switch(halt.pk, by=by)
        tasks.wind_up_twins()
    assert orders(factories.signal(live.feed))[twin.connection_id].status == "PENDING"


def test_halt_of_everything_stops_both(live: Subscription) -> None:
    ready(started(live))
    services.set_kill_switch(scope="ALL", mode="HALTED", reason="x", by=None)
    halted = orders(factories.signal(live.feed)).values()
    assert [one.reason for one in halted] == [Code.TRADING_HALTED] * 2


def test_it_cannot_be_changed_by_itself(live: Subscription) -> None:
    twin, by = started(live), owner(live)
    changes = (
        lambda: services.pause_subscription(twin.twin_id, by=by),
        lambda: services.update_subscription(twin.twin_id, by=by, multiplier=D(3)),
        lambda: services.unsubscribe(twin.twin_id, by=by),
        lambda: services.pause(twin.connection_id, by=by),
        lambda: services.subscribe(
            connection_id=twin.connection_id, feed_id=make.feed(is_public=True).pk, by=by
        ),
        lambda: services.update_connection(
            twin.connection_id, by=by, preset=make.preset(by, name="mine")
        ),
    )
    for change in changes:
        with pytest.raises(FillcastError) as refused:
            change()
        assert refused.value.code is Code.TWIN_FOLLOWS


# It ends


def ended(twin: SubscriptionTwin) -> tuple[bool, str, bool]:
    twin.refresh_from_db()
    twin.connection.refresh_from_db()
    twin.twin.refresh_from_db()
    assert (twin.ended_at is None) is (twin.twin.archived_at is None)
    return twin.ended_at is not None, twin.end_reason, twin.connection.archived_at is not None


@pytest.mark.django_db(transaction=True)
def test_stopped_twin_closes_its_positions_then_its_account_is_archived(
    live: Subscription,
) -> None:
    twin = ready(started(live))
    signal = factories.signal(live.feed)
    factories.fill_all()
    assert ExecutionPosition.objects.filter(connection=twin.connection).open().count() == 1
    assert services.stop_twin(live.pk, by=owner(live)) == twin
    assert services.stop_twin(live.pk, by=owner(live)) is None
    assert {*orders(factories.signal(live.feed))} == {live.connection_id}
    tasks.wind_up_twins()
    assert ended(twin) == (True, TwinEnd.STOPPED, False)  # its exit is on its way
    exits = Order.objects.filter(connection=twin.connection, position__isnull=False)
    assert exits.count() == 1
    tasks.wind_up_twins()
    assert exits.count() == 1  # a repetition closes nothing twice
    factories.fill_all()
    tasks.wind_up_twins()
    assert ended(twin) == (True, TwinEnd.STOPPED, True)
    live_positions = ExecutionPosition.objects.filter(connection=live.connection)
    assert live_positions.open().count() == 2  # its own and the later signal's
    assert Order.objects.filter(connection=twin.connection, signal=signal).exists()
    started(live)  # another one may follow


def test_it_ends_with_its_live_subscription(live: Subscription) -> None:
    twin = started(live)
    services.unsubscribe(live.pk, by=owner(live))
    tasks.wind_up_twins()
    assert ended(twin) == (True, TwinEnd.SUBSCRIPTION, True)


def test_it_ends_with_its_live_account(live: Subscription) -> None:
    twin = started(live)
    services.archive_connection(live.connection_id, by=owner(live))
    assert ended(twin) == (True, TwinEnd.SUBSCRIPTION, False)
    tasks.wind_up_twins()
    assert ended(twin) == (True, TwinEnd.SUBSCRIPTION, True)


def test_it_ends_with_its_paper_account(live: Subscription) -> None:
    twin = started(live)
    services.archive_connection(twin.connection_id, by=owner(live))
    assert ended(twin) == (True, TwinEnd.ACCOUNT, True)


def test_it_ends_with_its_feed(live: Subscription) -> None:
    twin = started(live)
    archive_feed(live.feed_id)
    tasks.wind_up_twins()
    assert ended(twin) == (True, TwinEnd.FEED, True)


@pytest.mark.django_db(transaction=True)
def test_events_of_a_twin_are_in_the_inbox_as_read_and_reach_no_channel(
    live: Subscription, feed: Feed
) -> None:
    twin = ready(started(live))
    person = owner(live)
    Channel.objects.create(user=person, name="phone", url_display="x", confirmed_at=market_now())
    for account in (live.connection, twin.connection):
        with transaction.atomic():
            emit_many(
                [
                    NewEvent(kind, person.pk, account.pk, signal_id=7, payload=payload)
                    for kind, payload in (
                        (EventKind.ORDER_FILLED, {}),
                        (EventKind.POSITION_CLOSED, {"pnl": "5", "commission": "1"}),
                        (EventKind.POSITION_UNPROTECTED, {"seconds": "9"}),
                    )
                ]
            )
    route_events(99)
    found = Notification.objects.filter(user=person).order_by("pk")
    of_twin = [row for row in found if row.title.startswith("Paper twin: ")]
    assert [(row.kind, row.read_at is None) for row in of_twin] == [
        ("order.filled", False), ("position.closed", False), ("position.unprotected", False),
    ]  # fmt: skip
    assert all(twin.connection.name in row.body for row in of_twin)
    others = [row for row in found if row not in of_twin]
    assert [(row.kind, row.read_at) for row in others] == [
        ("order.filled", None), ("position.closed", None), ("position.unprotected", None),
    ]  # fmt: skip
    sent = Event.objects.filter(pk__in=Delivery.objects.values("event_id"))
    assert {event.connection_id for event in sent} == {live.connection_id}


@pytest.mark.django_db(transaction=True)
def test_alarm_of_a_twin_still_reaches_operators(live: Subscription) -> None:
    twin = ready(started(live))
    operator = user("desk", is_staff=True)
    Channel.objects.create(user=operator, name="desk", url_display="x", confirmed_at=market_now())
    with transaction.atomic():
        emit_many([NewEvent(EventKind.ORDER_FAILED, owner(live).pk, twin.connection_id)])
    route_events(99)
    assert Delivery.objects.get().channel.user == operator
    assert Notification.objects.get(user=operator).read_at is None
