"""Which accounts of a route may take an entry: those are left out that may not, each for its own
reason, and the account that subscribes is one of them like any other."""

from datetime import timedelta
from decimal import Decimal as D
from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction

from analytics.what_if.route_preview import preview_route
from brokers.base import NotSent
from common.clocks import market_now
from common.reason_codes import Code
from connections import services as accounts
from connections.models import (
    ConnectionHealth,
    ExecutionConnection,
    Subscription,
)
from connections.services import RouteAccount
from execution.models import ExecutionLog, Order
from execution.preview import preview
from execution.submission.claim import claim
from execution.submission.outgoing import Outgoing
from execution.submission.routing import MAX_DETAIL
from signals.checks import listings
from signals.models import Feed, Signal
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker
from tests.loss_limits import pause_of

pytestmark = pytest.mark.usefixtures("inline_commits")


@pytest.fixture
def first(feed: Feed, broker: FakeBroker) -> ExecutionConnection:
    """The account that subscribes."""
    return factories.account(feed, name="first")


@pytest.fixture
def second(first: ExecutionConnection) -> ExecutionConnection:
    return factories.account(owner=first.user, name="second")


@pytest.fixture
def subscription(first: ExecutionConnection, second: ExecutionConnection) -> Subscription:
    row = first.subscriptions.get()
    named = [RouteAccount(first.pk), RouteAccount(second.pk)]
    accounts.set_route(row.pk, by=first.user, policy="HEALTH", accounts=named)
    row.refresh_from_db()
    return row


def halt(scope: str, **fields: Any) -> None:
    given = {"mode": "HALTED", "reason": "test", "by": None, **fields}
    accounts.set_kill_switch(scope=scope, **given)


def sent_to() -> list[str]:
    """Claim what is due, and what that moved; return the names of the accounts that get it."""
    claimed = claim(factories.pending(), worker_id=factories.OWNER)
    outgoing: list[Outgoing] = claimed.outgoing
    if claimed.moved:
        outgoing = outgoing + claim(claimed.moved, worker_id=factories.OWNER).outgoing
    names = {str(row.pk): row.name for row in ExecutionConnection.objects.all()}
    return [names[one.request.connection_id] for one in outgoing]


def only_state() -> tuple[str, str, str, str]:
    """Return account, status, reason and detail of the only order that has not moved."""
    [order] = Order.objects.exclude(route_state="MOVED").select_related("connection")
    return order.connection.name, order.status, order.reason, order.detail


def due_again() -> None:
    factories.force("UPDATE execution_order SET due_at = now() - interval '1 second'"
                    " WHERE status = 'PENDING'")  # fmt: skip


def other_type(row: ExecutionConnection) -> None:
    factories.force(
        "UPDATE connections_executionconnection SET type = 'paper' WHERE id = %s", (row.pk,)
    )


def lists(row: ExecutionConnection, *symbols: str, book: str = "elsewhere") -> None:
    """Give an account a broker that lists these symbols for EUR/USD: the first is preferred."""
    ExecutionConnection.objects.filter(pk=row.pk).update(instrument_book=book)
    factories.instrument("USD/JPY", book=book)
    for symbol in symbols:
        is_first = symbol == symbols[0]
        rivals = ", ".join(symbols[1:]) if is_first else ""
        factories.instrument(book=book, symbol=symbol, is_preferred=is_first, rivals=rivals)


def refuse_login(row: ExecutionConnection) -> None:
    ConnectionHealth.objects.filter(connection=row).update(
        status="ERROR", error_code="CREDENTIALS_REFUSED", unreachable_at=None
    )


# ---- what keeps one account out ----------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "obstacle",
    [
        lambda row: halt("CONNECTION", connection_id=row.pk),
        lambda row: halt("CONNECTION", connection_id=row.pk, mode="REDUCING"),
        refuse_login,
        lambda row: lists(row),
        lambda row: lists(row, "EURUSD.a", "EURUSD.b"),
        pause_of,
        lambda row: ExecutionConnection.objects.filter(pk=row.pk).update(preset=None),
        lambda row: ExecutionConnection.objects.filter(pk=row.pk).update(data_connection=None),
    ],
    ids=["halted", "entries halted", "login refused", "not listed", "ambiguous", "loss limit",
         "no preset", "no price source"],
)  # fmt: skip
@pytest.mark.parametrize("of_subscriber", [True, False])
def test_account_that_cannot_take_the_entry_is_left_out(
    feed: Feed, first: ExecutionConnection, second: ExecutionConnection,
    subscription: Subscription, obstacle: Any, of_subscriber: bool,
) -> None:  # fmt: skip
    obstacle(first if of_subscriber else second)
    signal = factories.signal(feed)
    assert sent_to() == ["second" if of_subscriber else "first"]
    assert signal.candidate_count == 1


def test_halt_of_a_broker_type_leaves_out_its_accounts(
    feed: Feed, first: ExecutionConnection, second: ExecutionConnection, subscription: Subscription
) -> None:
    other_type(first)
    halt("BROKER_TYPE", broker_type="paper")
    factories.signal(feed)
    assert sent_to() == ["second"]


def test_halt_of_the_symbol_that_an_account_trades_leaves_it_out(
    feed: Feed, first: ExecutionConnection, second: ExecutionConnection, subscription: Subscription
) -> None:
    """The first account trades another pair for the signal's."""
    factories.instrument("EUR/GBP", symbol="EURGBP")
    Subscription.objects.update(symbol_map={"EUR/USD": "EURGBP"})
    subscription.routes.filter(connection=second).update(symbol_map={"EUR/USD": "EURUSD"})
    halt("SYMBOL", pair="EUR/GBP")
    factories.signal(feed)
    assert sent_to() == ["second"]


@pytest.mark.django_db(transaction=True)
def test_reasons_are_in_the_log_of_the_choice(
    feed: Feed, first: ExecutionConnection, second: ExecutionConnection, subscription: Subscription
) -> None:
    lists(first, "EURUSD.a", "EURUSD.b")
    factories.signal(feed)
    assert sent_to() == ["second"]
    for line in ExecutionLog.objects.filter(code="ROUTED"):
        inputs = line.numbers["accounts"][0]
        assert inputs["connection"] == str(first.pk)
        assert (inputs["reason"], inputs["symbols"]) == ("SYMBOL_AMBIGUOUS", "EURUSD.a, EURUSD.b")
        assert "symbols" not in line.numbers["accounts"][1]


@pytest.mark.django_db(transaction=True)
def test_symbol_that_is_named_is_not_ambiguous(
    feed: Feed, first: ExecutionConnection, second: ExecutionConnection, subscription: Subscription
) -> None:
    lists(first, "EURUSD.a", "EURUSD.b")
    subscription.routes.filter(connection=first).update(symbol_map={"EUR/USD": "EURUSD.b"})
    factories.signal(feed)
    assert sent_to() == ["first"]


def test_account_that_subscribes_trades_the_pair_of_its_own_symbol(
    feed: Feed, first: ExecutionConnection, second: ExecutionConnection, subscription: Subscription
) -> None:
    factories.instrument("EUR/GBP", symbol="EURGBP")
    factories.quote(first, "0.85", "0.8502", pair="EUR/GBP")
    factories.quote(first, "1.25", "1.2502", pair="GBP/USD")
    subscription.routes.filter(connection=first).update(symbol_map={"EUR/USD": "EURGBP"})
    factories.signal(feed, sl=D("0.84"))
    [sent] = claim(factories.pending(), worker_id=factories.OWNER).outgoing
    assert sent.request.symbol == "EURGBP"
    order = Order.objects.get()
    assert (order.pair, order.expected_price) == ("EUR/GBP", D("0.8502"))


# ---- what stops the whole route ----------------------------------------------------------------
@pytest.mark.parametrize(
    ("stop", "code"),
    [
        (lambda s: halt("ALL"), "TRADING_HALTED"),
        (lambda s: halt("FEED", feed_id=s.feed_id), "TRADING_HALTED"),
        (lambda s: halt("USER", user_id=s.connection.user_id), "TRADING_HALTED"),
        (lambda s: halt("SYMBOL", pair="EUR/USD", mode="REDUCING"), "ENTRIES_HALTED"),
        (lambda s: Subscription.objects.update(is_paused=True), "SUBSCRIPTION_PAUSED"),
        (lambda s: Subscription.objects.update(directions="SELL"), "DIRECTION_EXCLUDED"),
        (lambda s: ExecutionConnection.objects.filter(pk=s.connection_id).update(is_paused=True),
         "CONNECTION_PAUSED"),
        (lambda s: pause_of(s.connection, subscription=s), "LOSS_LIMIT"),
    ],
)  # fmt: skip
def test_what_concerns_the_route_skips_the_signal(
    feed: Feed, subscription: Subscription, stop: Any, code: str
) -> None:
    stop(subscription)
    factories.signal(feed)
    assert only_state()[:3] == ("first", "SKIPPED", code)


def test_skipped_entry_has_the_pause_that_stops_the_route(
    feed: Feed, first: ExecutionConnection, subscription: Subscription
) -> None:
    """The account itself is paused too, which would only leave it out."""
    pause_of(first)
    pause_of(first, subscription=subscription, code="LOSING_STREAK", detail="4 in a row")
    factories.signal(feed)
    assert only_state() == ("first", "SKIPPED", "LOSING_STREAK", "4 in a row")


def test_leg_of_a_pair_stays_on_the_account_that_subscribes(
    feed: Feed, first: ExecutionConnection, subscription: Subscription
) -> None:
    """Its route does not count, so the account's own reasons do."""
    halt("CONNECTION", connection_id=first.pk)
    pair: dict[str, Any] = {"order_type": "LIMIT", "oco_group": uuid4(), "sl": D("1.05")}
    legs = [factories.signal(feed, open_price=D(price), **pair) for price in ("1.09", "1.08")]
    found = Order.objects.filter(signal__in=legs).values_list("status", "reason", "route_state")
    assert set(found) == {("SKIPPED", "TRADING_HALTED", "")}


# ---- none is left ------------------------------------------------------------------------------
def test_denial_names_why_each_account_was_left_out(
    feed: Feed, first: ExecutionConnection, second: ExecutionConnection, subscription: Subscription
) -> None:
    halt("CONNECTION", connection_id=first.pk)
    refuse_login(second)
    factories.signal(feed)
    assert sent_to() == []
    assert only_state() == (
        "first", "DENIED", "NO_ROUTE_ACCOUNT", "first: TRADING_HALTED; second: CREDENTIALS_REFUSED",
    )  # fmt: skip
    assert [event["code"] for event in factories.events("order.denied")] == ["NO_ROUTE_ACCOUNT"]
    [line] = ExecutionLog.objects.filter(code="ROUTED")
    assert [one["reason"] for one in line.numbers["accounts"]] == [
        "TRADING_HALTED", "CREDENTIALS_REFUSED",
    ]  # fmt: skip


def test_denial_has_the_reason_that_all_accounts_share(
    feed: Feed, first: ExecutionConnection, second: ExecutionConnection, subscription: Subscription
) -> None:
    for row in (first, second):
        halt("CONNECTION", connection_id=row.pk)
    factories.signal(feed)
    assert sent_to() == []
    assert only_state()[1:3] == ("DENIED", "TRADING_HALTED")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("ambiguous", ["both", "first", "second"])
def test_ambiguous_symbol_is_denied_if_no_other_account_is_left(
    feed: Feed, first: ExecutionConnection, second: ExecutionConnection,
    subscription: Subscription, ambiguous: str,
) -> None:  # fmt: skip
    for row in (first, second):
        if ambiguous in ("both", row.name):
            lists(row, "EURUSD.a", "EURUSD.b", book=row.name)
        else:
            halt("CONNECTION", connection_id=row.pk)
    factories.signal(feed)
    assert sent_to() == []
    _, status, reason, detail = only_state()
    assert (status, reason) == ("DENIED", "SYMBOL_AMBIGUOUS")
    for name in ("first", "second"):
        text = f"{name}: SYMBOL_AMBIGUOUS (EURUSD.a, EURUSD.b)"
        assert (text in detail) == (ambiguous in ("both", name))


@pytest.mark.django_db(transaction=True)
def test_denial_of_ten_accounts_with_long_names_fits_its_log(
    feed: Feed, first: ExecutionConnection, subscription: Subscription
) -> None:
    rows = [first, *(factories.account(owner=first.user) for _ in range(9))]
    accounts.set_route(
        subscription.pk, by=first.user, policy="HEALTH",
        accounts=[RouteAccount(row.pk) for row in rows],
    )  # fmt: skip
    for number, row in enumerate(rows):
        lists(row, f"EURUSD.{number}", *(f"{n}{'x' * 38}" for n in range(4)), book=f"b{number}")
        ExecutionConnection.objects.filter(pk=row.pk).update(name=f"{number}".ljust(100, "n"))
    factories.signal(feed)
    assert sent_to() == []
    assert only_state()[1:3] == ("DENIED", "SYMBOL_AMBIGUOUS")
    [line] = ExecutionLog.objects.filter(code="ROUTED")
    assert len(line.detail) == MAX_DETAIL
    assert [one["symbols"][:8] for one in line.numbers["accounts"]] == [
        f"EURUSD.{number}" for number in range(10)
    ]


def test_signal_that_is_over_ends_as_such(
    feed: Feed, first: ExecutionConnection, second: ExecutionConnection, subscription: Subscription
) -> None:
    signal = factories.signal(feed)
    for row in (first, second):
        halt("CONNECTION", connection_id=row.pk)
    Signal.objects.filter(pk=signal.pk).update(cancelled_at=market_now())
    assert sent_to() == []
    assert only_state()[1:3] == ("CANCELLED", "SIGNAL_CANCELLED")


def test_subscription_that_is_paused_meanwhile_denies_what_was_not_sent(
    feed: Feed, subscription: Subscription
) -> None:
    """As without a route."""
    factories.signal(feed)
    Subscription.objects.update(is_paused=True)
    assert sent_to() == []
    assert only_state()[1:3] == ("DENIED", "SUBSCRIPTION_PAUSED")


# ---- an obstacle that will pass ------------------------------------------------------------------
def test_entry_waits_where_the_obstacle_will_pass(
    feed: Feed, first: ExecutionConnection, second: ExecutionConnection, subscription: Subscription
) -> None:
    halt("CONNECTION", connection_id=first.pk)
    until = market_now() + timedelta(hours=1)
    ConnectionHealth.objects.filter(connection=second).update(circuit_open_until=until)
    factories.signal(feed)
    assert sent_to() == []
    assert only_state()[:3] == ("second", "PENDING", "CIRCUIT_OPEN")
    ConnectionHealth.objects.filter(connection=second).update(circuit_open_until=None)
    due_again()
    assert sent_to() == ["second"]


def test_waiting_entry_whose_account_is_halted_moves_to_one_that_waits(
    feed: Feed, first: ExecutionConnection, second: ExecutionConnection, subscription: Subscription
) -> None:
    until = market_now() + timedelta(hours=1)
    ConnectionHealth.objects.update(circuit_open_until=until)
    factories.signal(feed)
    assert sent_to() == []
    assert only_state()[:3] == ("first", "PENDING", "CIRCUIT_OPEN")
    halt("CONNECTION", connection_id=first.pk)
    due_again()
    assert sent_to() == []
    assert only_state()[:3] == ("second", "PENDING", "CIRCUIT_OPEN")


def test_entry_that_was_not_sent_is_denied_if_its_account_is_halted_and_none_is_left(
    feed: Feed, first: ExecutionConnection, second: ExecutionConnection, subscription: Subscription
) -> None:
    refuse_login(second)
    factories.signal(feed)
    [sent] = claim(factories.pending(), worker_id=factories.OWNER).outgoing
    factories.answer(sent, NotSent(Code.NOT_CONNECTED))
    halt("CONNECTION", connection_id=first.pk)
    due_again()
    assert sent_to() == []
    assert only_state()[1:3] == ("DENIED", "NO_ROUTE_ACCOUNT")


# ---- before it is published ----------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
@transaction.atomic
def test_symbol_is_listed_if_one_account_of_the_route_lists_it(
    feed: Feed, first: ExecutionConnection, second: ExecutionConnection, subscription: Subscription
) -> None:
    lists(first)
    reach = listings.reach_of(feed, "EUR/USD")
    assert (reach.followers, reach.listing, reach.unread) == (1, 1, 0)
    listings.require_listed_pair(feed, "EUR/USD")
    assert [one.pair for one in listings.listed_pairs(feed, "EUR")] == ["EUR/USD"]
    subscription.routes.filter(connection=second).update(symbol_map={"EUR/USD": "gone"})
    assert listings.reach_of(feed, "EUR/USD").is_unlisted
    ExecutionConnection.objects.filter(pk=second.pk).update(instrument_book="")
    reach = listings.reach_of(feed, "EUR/USD")
    assert (reach.followers, reach.listing, reach.unread) == (1, 0, 1)


@pytest.mark.django_db(transaction=True)
def test_preview_shows_why_an_account_is_left_out(
    feed: Feed, first: ExecutionConnection, second: ExecutionConnection, subscription: Subscription
) -> None:
    lists(first, "EURUSD.a", "EURUSD.b")
    shown = preview_route(subscription, {"symbol": "EUR/USD"})
    assert shown is not None
    assert [line.is_chosen for line in shown.lines] == [False, True]
    assert "EURUSD.a, EURUSD.b" in shown.lines[0].why_not
    Subscription.objects.update(is_paused=True)
    shown = preview_route(subscription, {"symbol": "EUR/USD"})
    assert shown is not None
    assert [line.account.reason for line in shown.lines] == ["SUBSCRIPTION_PAUSED"] * 2


def shown(feed: Feed) -> dict[str, int]:
    """Return how many entries a preview says are sent, and by which codes others are not."""
    draft = Signal(
        feed=feed, action="OPEN", currency_pair="EUR/USD", direction="BUY", order_type="MARKET",
        time_in_force="GTC", sl=D("1.09"), reaches_admins=True,
    )  # fmt: skip
    result = preview(draft)
    return {"sent": result.sent, **{one.name: one.connections for one in result.reasons}}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_halted", [False, True])
def test_preview_of_a_publication_counts_the_account_that_would_get_it(
    feed: Feed, first: ExecutionConnection, second: ExecutionConnection,
    subscription: Subscription, is_halted: bool,
) -> None:  # fmt: skip
    lists(first)
    assert shown(feed) == {"sent": 1}
    if is_halted:
        halt("CONNECTION", connection_id=second.pk)
        assert shown(feed) == {"sent": 0, "NO_ROUTE_ACCOUNT": 1}
        halt("ALL")
        assert shown(feed) == {"sent": 0, "TRADING_HALTED": 1}
