"""The portal's pages: exact figures, texts, and how many statements they execute."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from analytics.orders.explanations import explain, format_price
from common.clocks import market_now
from common.money import plain
from connections.exposure import open_items
from connections.models import ConnectionHealth, ExecutionConnection, LaneLease
from events.models import Notification
from execution.models import Order
from portal.selectors.accounts import accounts_of
from portal.selectors.positions import PositionView, open_positions
from portal.selectors.results import currency_summaries
from portal.selectors.signals import published_to, signal_history
from positions.models import ExecutionPosition
from signals.models import Signal
from tests.connections import make
from tests.console.conftest import statements
from tests.html import html_of
from tests.matrix import WALK_TIME, Walk
from tests.portal import factories
from tests.portal.conftest import SignedIn
from tests.portal.factories import D, World
from users.models import User
from users.tenancy import for_all_tenants

Read = Callable[[str], str]


@pytest.fixture
def read(world: World, signed_in: SignedIn, as_web: None) -> Read:
    """Return a function that opens an address as Alice."""
    client = signed_in(world.alice)

    def page(address: str) -> str:
        response = client.get(address)
        assert response.status_code == 200, (address, response.status_code)
        return str(html_of(response))

    return page


@pytest.mark.usefixtures("stopped_clock")  # the trading day goes on
def test_real_and_paper_money_are_never_added(world: World) -> None:
    summaries = currency_summaries(accounts_of(world.alice), open_positions(world.alice))
    assert [(p.currency, p.is_paper, p.equity, p.closed, p.open) for p in summaries] == [
        ("USD", False, D("66575.23"), D("-211.50"), D("101.675")),
        ("USD", True, D("10035.80"), D(0), D("-48.40")),
    ]
    for summary in summaries:
        assert sum(line.amount for line in summary.lines) == summary.today


def test_account_without_data_and_position_without_price_are_left_out(
    world: World,
) -> None:
    world.prices.latest_quotes.all().delete()
    real, _paper = currency_summaries(accounts_of(world.alice), open_positions(world.alice))
    assert (real.open, real.unpriced, len(real.accounts)) == (D(0), 2, 3)


@pytest.mark.usefixtures("stopped_clock")  # the trading day goes on
def test_overview_lists_what_needs_attention(read: Read) -> None:
    page = read("/")
    assert "Unprotected: EUR/USD short 40,000 EUR at Main MT5" in page
    assert "3 of 5 accounts will trade the next signal" in page
    assert "66,575.23" in page
    assert "−109.8" in page
    assert "CONNECTION_PAUSED" in page
    assert "2 filled + 1 working + 1 skipped + 1 denied" in page


def test_panel_has_the_same_content_as_the_page(read: Read) -> None:
    panel = read("/live/")
    assert "<html" not in panel
    assert "Unprotected: EUR/USD" in panel


def test_empty_portal_states_the_next_step(world: World, signed_in: SignedIn, as_web: None) -> None:
    client = signed_in(world.nora)
    assert "Open a paper account with 10,000 USD" in html_of(client.get("/"))
    assert "Add an account first" in html_of(client.get("/feeds/"))
    assert "No open positions" in html_of(client.get("/positions/"))
    assert "No notifications yet" in html_of(client.get("/inbox/"))


def test_account_without_a_feed_is_offered_one(world: World, signed_in: SignedIn) -> None:
    make.connection(world.nora)
    assert "No account is subscribed to a feed yet" in html_of(signed_in(world.nora).get("/"))


def test_page_of_a_signal_explains_each_outcome(world: World, read: Read) -> None:
    page = read(f"/signals/{world.euro.pk}/")
    assert "Filled 40,000 EUR at 1.38254, 31.0 pips worse than requested." in page
    assert "Requested price 1.38564; the difference cost 124.00 USD." in page
    until = f"until {world.euro.valid_until:%Y-%m-%d %H:%M:%S} UTC, when Fillcast ends it."
    assert f"Not filled yet; working at the broker, at 1.38564, {until}" in page
    assert "Skipped: the owner has paused the connection." in page
    assert "Denied by our rules: the account does not list this symbol." in page
    assert "EUR/USDT exists there, but we don’t guess." in page
    assert "<code>SYMBOL_NOT_AT_BROKER</code>" in page
    assert "2 filled + 1 working + 1 skipped + 1 denied = 5" in page
    assert "Timeline of the order at Main MT5" in page


def test_page_of_a_signal_links_the_other_leg_of_its_pair(world: World, read: Read) -> None:
    group = uuid4()
    fields: dict[str, Any] = {
        "feed": world.euro.feed, "currency_pair": "EUR/USD", "order_type": "STOP",
        "stop_price": "1.4", "approval": "APPROVED", "published_at": world.euro.published_at,
    }  # fmt: skip
    with for_all_tenants():
        legs = [
            Signal.objects.create(direction=side, oco_group=group, **fields)
            for side in ("BUY", "SELL")
        ]
        orders = [
            factories.order(account, leg, "PENDING", oco_group=group)
            for account in (world.mt5, world.ibkr)
            for leg in legs
        ]
    page = read(f"/signals/{legs[0].pk}/")
    assert f'One cancels the other: <a href="/signals/{legs[1].pk}/">' in page
    names = f"{legs[0].number} and {legs[1].number}"
    assert f"{names} are an OCO pair: the first one that the market reaches cancels" in page
    assert "Both still wait on IBKR, Main MT5." in page
    both = f"Cancels {orders[1]} with it: the other leg of its pair."
    assert both in read(f"/orders/{orders[0].pk}/cancel/")
    with for_all_tenants():
        Order.objects.filter(pk=orders[1].pk).update(oco_fired=True)
        Order.objects.filter(pk=orders[0].pk).update(status="CANCELLED", done_at=market_now())
    page = read(f"/signals/{legs[0].pk}/")
    assert f"{legs[1].number} fired on Main MT5." in page
    assert "the other leg" not in read(f"/orders/{orders[1].pk}/cancel/")
    assert "Both still wait on IBKR." in page


def test_page_of_a_signal_has_the_timeline_of_each_own_order(world: World, read: Read) -> None:
    page = read(f"/signals/{world.euro.pk}/?order={world.working.pk}")
    assert "Timeline of the order at IBKR" in page
    theirs = read(f"/signals/{world.euro.pk}/?order={world.bobs_order.pk}")
    assert "Timeline of the order at Main MT5" in theirs


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"pending_action": "CANCEL"}, "Cancellation requested; the order may still fill first."),
        (
            {"pending_action": "CANCEL", "reason": "CANCEL_DELAYED"},
            "may still fill first. The cancel could not be sent to the broker yet: its host",
        ),
        (
            {
                "pending_action": "CANCEL",
                "status": "CANCEL_REQUESTED",
                "reason": "CANCEL_UNANSWERED",
            },
            "may still fill first. The broker was asked to cancel the order several times",
        ),
    ],
)
def test_order_states_why_its_cancel_is_delayed(
    world: World, signed_in: SignedIn, changes: dict[str, str], sentence: str
) -> None:
    type(world.working).objects.filter(pk=world.working.pk).update(**changes)
    response = signed_in(world.alice).get(f"/signals/{world.euro.pk}/?order={world.working.pk}")
    assert sentence in html_of(response)


def test_closed_position_counts_in_the_signals_result(world: World) -> None:
    history = signal_history(world.alice, world.gold)
    assert history.results == [("USD", False, D("-211.50") + D("116.16") + D("150.075"))]


def test_kinds_of_refusal_are_distinguished() -> None:
    summaries = {
        status: explain(Order(status=status, reason=reason)).summary
        for status, reason in (
            ("SKIPPED", "CONNECTION_PAUSED"), ("DENIED", "MARGIN"), ("REJECTED", "NO_MONEY"),
            ("FAILED", "SEND_RETRIES_EXHAUSTED"), ("UNKNOWN", "REPLY_LOST"),
            ("EXPIRED", "SIGNAL_EXPIRED"), ("CANCELLED", "SIGNAL_CANCELLED"),
        )
    }  # fmt: skip
    assert summaries == {
        "SKIPPED": "Skipped: the owner has paused the connection.",
        "DENIED": "Denied by our rules: the order needs more margin than the account has free.",
        "REJECTED": "Rejected by the broker: not enough money for the margin.",
        "FAILED": "Failed: every attempt to send the order failed before anything left.",
        "UNKNOWN": "Unknown: the order was sent and no answer came; the broker is being asked.",
        "EXPIRED": "Expired: the signal's valid-until time passed before the order could be sent.",
        "CANCELLED": "Cancelled: the provider cancelled the signal.",
    }


@pytest.mark.parametrize(
    ("price", "pip", "text"),
    [("1.386", "0.0001", "1.38600"), ("1286.029", "0.01", "1286.029"), ("101.5", "1", "101.5"),
     ("0.1", None, "0.1")],
)  # fmt: skip
def test_price_is_formatted_with_its_instruments_digits(
    price: str, pip: str | None, text: str
) -> None:
    assert format_price(Decimal(price), Decimal(pip) if pip else None) == text


def test_positions_are_filtered(world: World, read: Read) -> None:
    assert read("/positions/").count("Close…") == 3
    assert read(f"/positions/?account={world.ibkr.pk}").count("Close…") == 1
    assert "No matching positions" in read(f"/positions/?account={world.bobs.pk}")
    assert "No matching positions" in read("/positions/?account=unknown&pair=%27")
    closed = read("/positions/?state=closed")
    assert "−211.50" in closed
    assert "Stop loss" in closed


def test_account_without_a_worker_states_what_to_start(world: World, signed_in: SignedIn) -> None:
    client, address = signed_in(world.alice), f"/accounts/{world.mt5.pk}/"
    world.start_workers()

    def page(path: str) -> str:
        return html_of(client.get(path))

    assert "mt5.main" in page(address)
    assert "No worker" not in page(address) + page("/accounts/")
    LaneLease.objects.filter(lane="mt5.main").update(until=datetime.now(UTC) - timedelta(minutes=1))
    content = page(address)
    assert "No worker is running beside the terminal &#x27;main&#x27;" in content
    assert "<code>celery -A config worker -P threads -Q mt5.main</code>" in content
    assert "Until then its open positions are not monitored" in content
    assert "Not running" in content
    assert "Ready to trade" not in content
    assert "No worker is running beside the terminal" in page("/accounts/")
    ConnectionHealth.objects.filter(pk=world.mt5.pk).update(
        status="UNTESTED", last_test=[], last_tested_at=None, test_requested_at=datetime.now(UTC)
    )
    content = page(address)
    assert "NO_SESSION_WORKER" in content
    assert "The test waits for its worker" in content
    assert "The test is requested" not in content
    assert "Its checks appear here." not in content


def test_inactive_account_states_what_is_open_and_monitored(
    world: World, workers: None, signed_in: SignedIn
) -> None:
    client, address = signed_in(world.alice), f"/accounts/{world.mt5.pk}/"

    def page(path: str) -> str:
        return html_of(client.get(path))

    ExecutionConnection.objects.filter(pk=world.mt5.pk).update(is_active=False)
    assert len(open_items(world.mt5.pk)) == 1
    for content in (page(address), page("/accounts/")):
        assert "Off, 1 open" in content
        assert "Still open there: EURUSD (an open position). These are still monitored" in content
    ConnectionHealth.objects.filter(pk=world.mt5.pk).update(
        status="ERROR", last_error="The broker does not answer.", last_error_at=datetime.now(UTC)
    )
    content = page(address)
    assert "Off, 1 open: error" in content
    assert "These are monitored, but the account has a problem" in content
    assert "The broker does not answer." in content
    ExecutionConnection.objects.filter(pk=world.mt5.pk).update(is_active=True, is_paused=True)
    assert "Paused, 1 open: error" in page(address)
    ExecutionConnection.objects.filter(pk=world.mt5.pk).update(is_active=False, is_paused=False)
    LaneLease.objects.filter(lane="mt5.main").delete()
    content = page(address)
    assert "Off, 1 open: no worker" in content
    assert "These are not monitored until its worker runs." in content
    assert "exits, and stops that Fillcast guards, wait" in content
    assert "are still monitored" not in content
    ExecutionPosition.objects.filter(connection=world.mt5).update(quantity=0)
    content = page(address)
    assert "Switched off" in content
    assert "Still open there" not in content


def test_account_without_contact_is_marked_inactive(
    world: World, workers: None, signed_in: SignedIn
) -> None:
    content = html_of(signed_in(world.alice).get(f"/accounts/{world.mt5.pk}/"))
    assert "No contact since" not in content
    ConnectionHealth.objects.filter(pk=world.mt5.pk).update(inactivity_alerted_at=datetime.now(UTC))
    content = html_of(signed_in(world.alice).get(f"/accounts/{world.mt5.pk}/"))
    assert "Inactive" in content
    assert "No contact since" in content


def create_more_rows(world: World) -> None:
    """Create ten more accounts, positions, signals and notifications for Alice."""
    for number in range(10):
        row = make.connection(world.alice, type="paper", name=f"more {number}")
        make.subscription(row, world.breakout)
        signal = factories.signal(world.breakout, datetime.now(UTC), currency_pair="EUR/USD",
                           direction="BUY")  # fmt: skip
        bought = factories.order(row, signal, "FILLED", D(1000), D("1.38"))
        factories.position(bought, world.prices)
        Notification.objects.create(
            user=world.alice, event_id=100 + number, kind="order.filled", title="t"
        )
        extra = factories.order(row, world.euro, "FILLED", D(1000), D("1.38"))
        factories.position(extra, world.prices)


@WALK_TIME
def test_more_rows_need_no_more_statements(world: World, signed_in: SignedIn) -> None:
    client = signed_in(world.alice)
    paths = ["/", "/live/", "/signals/", f"/signals/{world.euro.pk}/", "/positions/", "/accounts/",
             f"/accounts/{world.mt5.pk}/", "/feeds/", "/inbox/"]  # fmt: skip
    most = dict.fromkeys(paths, 23)
    with Walk(client) as walk:
        for rows in ("some rows", "more rows"):
            if rows == "more rows":
                create_more_rows(world)
            for path in walk.each(paths):
                with walk.cell(f"{path} with {rows}", "alice") as cell, statements() as sent:
                    cell.expect(200, client.get(path).status_code)
                    cell.expect_at_most(most[path], sent, "statements")
                    most[path] = len(sent)


def test_only_signals_of_ones_own_accounts_are_listed(world: World) -> None:
    factories.signal(world.carry, datetime.now(UTC), currency_pair="EUR/USD", direction="BUY")
    assert [s.pk for s in published_to(world.alice)] == [world.euro.pk, world.gold.pk]
    assert list(published_to(User.objects.get(username="nora"))) == []


def test_brokers_error_and_its_remedy_are_two_sentences(world: World, signed_in: SignedIn) -> None:
    check = {"name": "worker", "result": "fail", "detail": "Run `this`: no route", "hint": "Call."}
    state = ConnectionHealth.objects.get(pk=world.mt5.pk)
    state.last_test, state.last_error = [check], "Run `this`: no route. Call."
    state.save()
    content = signed_in(world.alice).get(f"/accounts/{world.mt5.pk}/").text
    assert content.count("Run <code>this</code>: no route. Call.") == 2


def test_list_of_accounts_states_each_error(world: World, signed_in: SignedIn) -> None:
    error = "Login refused. Enter the password again."
    ConnectionHealth.objects.filter(pk=world.mt5.pk).update(status="ERROR", last_error=error)
    ConnectionHealth.objects.filter(pk=world.twin.pk).update(status="ERROR", last_error="x " * 240)
    page = signed_in(world.alice).get("/accounts/").text
    assert f"{error} <a" in " ".join(page.split())
    assert f"{'x ' * 124}… <a" in " ".join(page.split())


@pytest.mark.parametrize(
    ("pair", "price", "stop", "pip", "expected"),
    [
        ("EUR/USD", "1.1050", "1.1000", "0.0001", ("50", "pips")),
        ("BTC/USDT", "50000", "49750", "0.01", ("50", "basis points")),
    ],
)
def test_distance_to_the_stop_has_the_unit_of_the_instrument(
    pair: str, price: str, stop: str, pip: str, expected: tuple[str, str]
) -> None:
    position = ExecutionPosition(pair=pair, side="BUY", sl=D(stop), pip=D(pip))
    position.current_price = D(price)  # type: ignore[attr-defined]
    view = PositionView(position)
    assert view.to_stop is not None
    assert (plain(view.to_stop), view.unit.word) == expected
    assert view.to_target is None
    position.tp = D(price) + (D(price) - D(stop)) * 2
    assert view.to_target == view.to_stop * 2
    position.tp = D(stop)  # the price has passed it
    assert view.to_target == -view.to_stop


@pytest.mark.parametrize(
    ("unrounded", "expected"),
    [
        ("40500", "500 EUR of EUR/USD left out by rounding (1 entry)"),
        ("41476.622586178276987771", "1,476.62 EUR of EUR/USD left out by rounding (1 entry)"),
        ("39999", "1 EUR of EUR/USD added by the broker’s minimum (1 entry)"),
    ],
)
def test_account_states_what_rounding_left_out(
    world: World, signed_in: SignedIn, unrounded: str, expected: str
) -> None:
    client, address = signed_in(world.alice), f"/accounts/{world.mt5.pk}/"
    assert "by rounding" not in client.get(address).text
    Order.objects.filter(pk=world.euro_order.pk).update(unrounded_quantity=D(unrounded))
    assert expected in " ".join(client.get(address).text.split())


@pytest.mark.parametrize("path", ["/", "/accounts/"])
def test_equity_in_yen_has_no_decimals(world: World, signed_in: SignedIn, path: str) -> None:
    type(world.mt5.snapshot).objects.update(currency="JPY", equity=1_234_567)
    page = html_of(signed_in(world.alice).get(path))
    assert "1,234,567" in page
    assert "1,234,567.00" not in page
