"""Tenants' actions: confirmed before, done once, reported afterwards, and no input is lost."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from connections.models import ConnectionHealth, ExecutionConnection, KillSwitch, Subscription
from events.selectors import inbox
from execution.models import Order
from tests.connections import make
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import World

pytestmark = pytest.mark.django_db
Committed = Callable[..., Any]


@pytest.fixture
def alice(world: World, signed_in: SignedIn, as_web: None) -> Client:
    return signed_in(world.alice)


def refresh(row: Any) -> Any:
    """Return a row as it is stored now, read with the rights of the tables' owner."""
    with connection.cursor() as cursor:
        cursor.execute("RESET ROLE")
    return type(row).objects.get(pk=row.pk)


def test_pause_page_states_its_consequences(alice: Client) -> None:
    page = html_of(alice.get("/pause/"))
    assert "Open positions: 3 (" in page
    assert "their stops and targets keep working, unless you close them here." in page
    assert "Positions without a stop: 1." in page
    assert "Entries at brokers: 1 (" in page
    assert "They stay there and may still fill, unless you cancel them here." in page
    assert "Also cancel 1 entry that has not filled" in page
    assert "Pause 5 accounts" in page
    assert KillSwitch.objects.count() == 0


def test_all_accounts_are_paused_and_resumed(
    world: World, alice: Client, enqueued: list[Any], django_capture_on_commit_callbacks: Committed
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        content = html_of(alice.post("/pause/", {"cancel_working": "on"}, follow=True))
    assert "Everything is paused; exits keep working. 1 entry is being cancelled." in content
    assert "You paused everything" in content
    assert "ENTRIES_HALTED" in content
    assert enqueued == ["pending actions"]
    assert "You paused everything. Resume trading to take the next signal." in content
    assert '<a href="/resume/">Resume everything…</a>' in content
    resumed = html_of(alice.post("/resume/", follow=True))
    assert "Resumed from the next signal on." in resumed
    assert "You paused everything" not in resumed
    switch = KillSwitch.objects.get()
    assert (switch.cancel_entries, switch.flatten) == (True, False)
    assert (switch.scope, switch.mode, switch.user) == ("USER", "REDUCING", world.alice)
    assert switch.released_at is not None


def test_head_of_each_page_offers_what_is_possible(world: World, alice: Client) -> None:
    def head(path: str) -> str:
        return html_of(alice.get(path)).split("<header", 1)[1].split("</header>", 1)[0]

    assert "Pause everything…" in head("/orders/")
    alice.post("/pause/")
    for path in ("/", "/orders/", "/resume/"):
        assert "Resume…" in head(path)
        assert "Pause everything…" not in head(path)


def test_second_pause_is_set_only_if_it_does_more(world: World, alice: Client) -> None:
    alice.post("/pause/")
    again = html_of(alice.post("/pause/", follow=True))
    assert "Everything is paused already; exits keep working." in again
    assert KillSwitch.objects.count() == 1
    alice.post("/pause/", {"close_positions": "on"})
    assert KillSwitch.objects.filter(flatten=True).count() == 1
    alice.post("/resume/")
    assert not KillSwitch.objects.filter(released_at=None).exists()


def test_pausing_can_leave_working_orders(world: World, alice: Client, enqueued: list[Any]) -> None:
    alice.post("/pause/")
    switch = KillSwitch.objects.get()
    assert (switch.cancel_entries, switch.flatten) == (False, False)
    assert enqueued == []


def test_pausing_can_close_positions(world: World, alice: Client) -> None:
    assert "Also close 3 open positions at the market" in html_of(alice.get("/pause/"))
    content = html_of(alice.post("/pause/", {"close_positions": "on"}, follow=True))
    assert "3 positions are being closed." in content
    assert KillSwitch.objects.get().flatten


def test_operators_halt_is_displayed_and_cannot_be_released_by_the_tenant(
    world: World, signed_in: SignedIn
) -> None:
    KillSwitch.objects.create(
        scope="USER", mode="HALTED", user=world.alice, reason="odd fills", set_by=world.olga
    )
    page = html_of(signed_in(world.alice).post("/resume/", follow=True))
    assert "You had paused nothing." in page
    assert "An operator halted all your accounts" in page
    assert "Resume everything…" not in page
    assert "odd fills" in page
    assert KillSwitch.objects.get().released_at is None


def test_halt_of_a_feed_states_who_set_it_and_who_releases_it(
    world: World, signed_in: SignedIn, request: pytest.FixtureRequest
) -> None:
    """Also of a feed that got another owner, who cannot release what the earlier one set."""
    halt: dict[str, Any] = {"scope": "FEED", "mode": "REDUCING", "reason": "holiday"}
    for user in (world.paula, world.bob):
        KillSwitch.objects.create(**halt, feed=world.breakout, set_by=user)
    request.getfixturevalue("as_web")
    page = html_of(signed_in(world.alice).get("/"))
    assert "Its provider paused the feed Macro Breakout" in page
    assert "Its provider or an operator can release it." in page
    assert "An earlier provider paused the feed Macro Breakout" in page
    assert "Only an operator can release it." in page


def test_position_is_closed_once_and_its_exit_is_enqueued(
    world: World, alice: Client, enqueued: list[Any], django_capture_on_commit_callbacks: Committed
) -> None:
    address = f"/positions/{world.unprotected.pk}/close/"
    page = html_of(alice.get(address))
    assert "Sends a market order to buy up to 40,000 EURUSD" in page
    assert "−48.40 USD" in page
    with django_capture_on_commit_callbacks(execute=True):
        assert alice.post(address, {"fraction": "1"})["Location"] == "/positions/"
        alice.post(address, {"fraction": "1"})
    (exit_order,) = Order.objects.filter(position_id=world.unprotected.pk)
    assert (exit_order.side, exit_order.quantity) == ("BUY", 40_000)
    assert enqueued == [([exit_order.pk], "exits")]
    assert "nothing was sent" in html_of(alice.get("/positions/"))


def shown_positions(client: Client, address: str) -> dict[str, str]:
    """Return the hidden field of the confirmation."""
    found = re.search(r'name="positions" value="([\d,]+)"', html_of(client.get(address)))
    assert found is not None
    return {"positions": found[1]}


def test_all_positions_of_the_list_are_closed_after_a_confirmation(
    world: World, alice: Client, enqueued: list[Any], django_capture_on_commit_callbacks: Committed
) -> None:
    assert "/positions/close-all/?pair=EUR" in html_of(alice.get("/positions/?pair=EUR"))
    question = html_of(alice.get("/positions/close-all/?pair=EUR"))
    assert "Sends a market order for each of them, ahead of all entries" in question
    assert not Order.objects.exits().exists()
    before = Order.objects.exits().count()
    shown = shown_positions(alice, "/positions/close-all/")
    with django_capture_on_commit_callbacks(execute=True):
        done = html_of(alice.post("/positions/close-all/", shown, follow=True))
    assert "3 positions are being closed" in done
    assert Order.objects.exits().count() == before + 3
    assert {exit_.connection.owner_name for exit_ in Order.objects.exits()} == {"alice"}
    assert len(enqueued) == 1
    again = html_of(alice.post("/positions/close-all/", shown, follow=True))
    assert "Nothing of that is open, or it is being closed already." in again


def test_positions_that_the_filter_leaves_out_stay_open(world: World, alice: Client) -> None:
    chosen = world.unprotected.connection_id
    address = f"/positions/close-all/?account={chosen}"
    alice.post(address, shown_positions(alice, address))
    exits = Order.objects.exits()
    assert exits.exists()
    assert set(exits.values_list("connection_id", flat=True)) == {chosen}


def test_positions_opened_after_the_question_stay_open(world: World, alice: Client) -> None:
    kept = world.unprotected.pk
    shown = shown_positions(alice, "/positions/close-all/")
    asked = [pk for pk in shown["positions"].split(",") if pk != str(kept)]
    done = html_of(alice.post("/positions/close-all/", {"positions": ",".join(asked)}, follow=True))
    assert "1 opened since you were asked, and stay." in done
    closed = set(Order.objects.exits().values_list("position_id", flat=True))
    assert closed == {int(pk) for pk in asked}


def test_positions_that_are_being_closed_are_not_counted_as_new(
    world: World, alice: Client
) -> None:
    shown = shown_positions(alice, "/positions/close-all/")
    alice.post(f"/positions/{world.unprotected.pk}/close/", {"fraction": "1"})
    again = shown_positions(alice, "/positions/close-all/")
    done = html_of(alice.post("/positions/close-all/", again, follow=True))
    assert "since you were asked" not in done
    assert str(world.unprotected.pk) in shown["positions"].split(",")


def test_positions_closed_after_the_question_are_reported(world: World, alice: Client) -> None:
    shown = shown_positions(alice, "/positions/close-all/")
    alice.post(f"/positions/{world.unprotected.pk}/close/", {"fraction": "1"})
    done = html_of(alice.post("/positions/close-all/", shown, follow=True))
    assert "2 positions are being closed" in done
    assert "1 closed since you were asked." in done


@pytest.mark.parametrize("positions", ["", "1;2", "9" * 30, "²"])
def test_close_all_without_shown_positions_closes_nothing(
    world: World, alice: Client, positions: str
) -> None:
    alice.post("/positions/close-all/", {"positions": positions})
    assert not Order.objects.exits().exists()


def test_close_all_of_another_tenants_account_closes_nothing(world: World, alice: Client) -> None:
    ids = str(world.bobs_position.pk)
    alice.post(f"/positions/close-all/?account={world.bobs.pk}", {"positions": ids})
    assert refresh(world.bobs_position).reserved == 0
    assert not Order.objects.exits().exists()


def test_invalid_fraction_closes_nothing(world: World, alice: Client) -> None:
    response = alice.post(f"/positions/{world.unprotected.pk}/close/", {"fraction": "7"})
    assert response.status_code == 422
    assert Order.objects.filter(position_id=world.unprotected.pk).count() == 0


def test_connection_test_is_requested_and_its_page_polls(
    world: World, workers: None, alice: Client, enqueued: list[Any],
    django_capture_on_commit_callbacks: Committed,
) -> None:  # fmt: skip
    page = f"/accounts/{world.mt5.pk}/"
    assert "every 1s" not in html_of(alice.get(page))
    with django_capture_on_commit_callbacks(execute=True):
        assert alice.post(f"{page}test/")["Location"] == f"{page}#checks"
    assert enqueued == [world.mt5.pk]
    waiting = html_of(alice.get(f"{page}live/"))
    assert "waiting for a trading process" in waiting
    assert 'hx-trigger="every 1s"' in waiting
    assert "http-equiv" in html_of(alice.get(page))


def test_credentials_are_stored_sealed_and_never_displayed(world: World, alice: Client) -> None:
    address = f"/accounts/{world.mt5.pk}/credentials/"
    empty = alice.post(address, {"password": ""})
    assert (empty.status_code, b"This field is required" in empty.content) == (422, True)
    response = alice.post(address, {"password": "canary-s3cret"}, follow=True)
    assert b"canary-s3cret" not in response.content
    assert b"The credentials were stored, and the test that uses them" in response.content
    stored = refresh(world.mt5)
    assert stored.sealed_credentials not in (None, world.mt5.sealed_credentials)
    assert b"canary" not in bytes(stored.sealed_credentials)
    assert ConnectionHealth.objects.get(pk=world.mt5.pk).status == "UNTESTED"


def test_added_accounts_page_states_the_next_step(world: World, alice: Client) -> None:
    typed = {"name": "New one", "type": "paper", "account": "P-77", "preset": world.preset.pk,
             "data_connection": world.prices.pk}  # fmt: skip
    page = html_of(alice.post("/accounts/add/", typed, follow=True))
    assert "New one" in page
    assert "The account was added, and its test is requested." in page
    added = ExecutionConnection.objects.get(account="P-77")
    assert "CONNECTION_TEST_PENDING" in html_of(alice.get(f"/accounts/{added.pk}/"))
    repeated = alice.post("/accounts/add/", typed)
    assert repeated.status_code == 422
    assert "This account is connected here already. It is called New one." in repeated.text
    assert 'value="P-77"' in html_of(repeated)


def test_another_tenants_preset_is_refused(world: World, signed_in: SignedIn) -> None:
    theirs = make.preset(world.bob)
    typed = {"name": "x", "preset": theirs.pk, "data_connection": ""}
    response = signed_in(world.alice).post(f"/accounts/{world.mt5.pk}/edit/", typed)
    assert response.status_code == 422
    assert refresh(world.mt5).name == "Main MT5"


def test_account_is_changed(world: World, alice: Client) -> None:
    typed = {"name": "Renamed", "preset": world.preset.pk, "data_connection": world.prices.pk,
             "settings.native_stops": "on"}  # fmt: skip
    page = html_of(alice.post(f"/accounts/{world.twin.pk}/edit/", typed, follow=True))
    assert "Saved." in page
    assert refresh(world.twin).name == "Renamed"


@pytest.mark.parametrize("name", ["pause", "resume"])
def test_get_request_of_an_actions_address_changes_nothing(
    world: World, alice: Client, name: str
) -> None:
    assert alice.get(f"/accounts/{world.mt5.pk}/{name}/").status_code == 302
    assert alice.get(f"/subscriptions/{world.subscriptions[0].pk}/{name}/").status_code == 302
    assert not refresh(world.mt5).is_paused
    assert not Subscription.objects.get(pk=world.subscriptions[0].pk).is_paused


def test_account_is_paused_and_resumed(world: World, alice: Client) -> None:
    page = html_of(alice.post(f"/accounts/{world.mt5.pk}/pause/", follow=True))
    assert "Main MT5 is paused" in page
    assert "CONNECTION_PAUSED" in page
    for address in (f"/accounts/{world.mt5.pk}/", "/accounts/"):
        page = html_of(alice.get(address))
        assert (
            "The owner has paused the connection. Resume it to trade from the next signal on."
            in page
        )
    assert f'action="/accounts/{world.mt5.pk}/resume/"' in html_of(
        alice.get(f"/accounts/{world.mt5.pk}/")
    )
    page = html_of(alice.post(f"/accounts/{world.mt5.pk}/resume/", follow=True))
    assert "trades from the next signal on" in page
    assert not refresh(world.mt5).is_paused


@pytest.mark.parametrize("action", ["resume", "switch-on"])
def test_resumed_account_that_may_not_trade_states_what_is_missing(
    world: World, alice: Client, action: str
) -> None:
    address = f"/accounts/{world.mt5.pk}/"
    accounts = type(world.mt5).objects.filter(pk=world.mt5.pk)
    off: dict[str, bool] = {"resume": {"is_paused": True}, "switch-on": {"is_active": False}}[
        action
    ]
    alice.get(address)  # from now on, queries see her rows only
    accounts.update(preset=None, **off)
    page = html_of(alice.post(f"{address}{action}/", follow=True))
    assert "It takes no signal yet. The connection has no trading preset" in page
    assert "t trades from the next signal" not in page
    accounts.update(preset=world.preset, **off)
    ConnectionHealth.objects.filter(pk=world.mt5.pk).update(reconciled_at=None)
    page = html_of(alice.post(f"{address}{action}/", follow=True))
    assert "Its entries wait. The account has not been compared with its broker" in page


def test_inactive_account_is_switched_on(world: World, alice: Client) -> None:
    address = f"/accounts/{world.mt5.pk}/"
    assert "Switch on" not in html_of(alice.get(address))
    type(world.mt5).objects.filter(pk=world.mt5.pk).update(is_active=False)
    page = html_of(alice.get(address))
    assert "Switch on" in page
    assert f"{address}pause/" not in page
    page = html_of(alice.post(f"{address}switch-on/", follow=True))
    assert "Main MT5 is switched on. Its entries wait. The account has not been compared" in page
    assert refresh(world.mt5).is_active
    assert "is already switched on" in html_of(alice.post(f"{address}switch-on/", follow=True))


@pytest.fixture
def ready(world: World) -> None:
    """Main MT5 may subscribe to Kiwi Carry; before the role of the web process is taken."""
    make.ready(world.mt5, "NZD/USD")


def test_subscription_is_created_changed_paused_and_ended(
    world: World, ready: None, alice: Client
) -> None:
    typed = {
        "account": str(world.mt5.pk),
        "multiplier": "0.5",
        "directions": "BUY",
        "priority": "2",
    }
    page = html_of(alice.post("/feeds/kiwi-carry/subscribe/", typed, follow=True))
    assert "Subscribed to Kiwi Carry from its next signal on." in page
    assert "× 0.5" in page
    subscription = Subscription.objects.get(connection=world.mt5, feed=world.carry)
    base = f"/subscriptions/{subscription.pk}"
    alice.post(f"{base}/edit/", {"multiplier": "2", "directions": "BOTH", "priority": "3"})
    alice.post(f"{base}/pause/")
    changed = Subscription.objects.get(pk=subscription.pk)
    assert (changed.multiplier, changed.directions, changed.is_paused) == (2, "BOTH", True)
    assert changed.priority == 3
    high = {"multiplier": "2", "directions": "BOTH", "priority": "1"}  # only operators give it
    assert alice.post(f"{base}/edit/", high).status_code == 422
    alice.post(f"{base}/resume/")
    assert "takes no more signals of Kiwi Carry" in html_of(alice.get(f"{base}/end/"))
    alice.post(f"{base}/end/")
    assert alice.get(f"{base}/end/").status_code == 404
    assert refresh(subscription).archived_at is not None


def test_subscription_gets_a_route(world: World, alice: Client) -> None:
    subscription, spare = world.subscriptions[0], world.subscriptions[1].connection
    alice.post(f"/subscriptions/{world.subscriptions[1].pk}/end/")  # else it takes the feed itself
    address = f"/subscriptions/{subscription.pk}/route/"
    assert address in html_of(alice.get("/feeds/"))
    assert spare.name in html_of(alice.get(address))
    typed = {"policy": "SHARE", "accounts": [str(spare.pk)], "shares": "3, x"}
    assert "Whole numbers, separated by commas." in html_of(alice.post(address, typed))
    assert "Enter 2 numbers, or none." in html_of(alice.post(address, typed | {"shares": "3"}))
    page = html_of(alice.post(address, typed | {"shares": "3, 1"}, follow=True))
    assert "Saved. It applies from the next signal on." in page
    assert "routed: in proportion to shares" in page
    routes = refresh(subscription).routes.values_list("connection", "share")
    assert list(routes) == [(subscription.connection_id, 3), (spare.pk, 1)]
    shown = html_of(alice.get(f"{address}?symbol=EURUSD&side=SELL"))
    for text in ("3, 1", "Where an entry would go now", "% of the signals", "EUR/USD"):
        assert text in shown, text
    named = typed | {"shares": "3, 1", "symbols": f"{spare.name}: NZD/USD = NZDUSD.m"}
    alice.post(address, named)
    assert subscription.routes.get(connection=spare).symbol_map == {"NZD/USD": "NZDUSD.m"}
    assert f"{spare.name}: NZD/USD = NZDUSD.m" in html_of(alice.get(address))
    for wrong, text in (("Elsewhere: NZD/USD = X", "is none of the accounts"),
                        (f"{spare.name}: NZDUSD", "write Account:"),
                        (f"{spare.name}: ??? = X", spare.name)):  # fmt: skip
        assert text in html_of(alice.post(address, named | {"symbols": wrong})), wrong
    assert subscription.routes.get(connection=spare).symbol_map == {"NZD/USD": "NZDUSD.m"}
    several = f"Elsewhere: NZD/USD = X\n{spare.name}: NZDUSD"
    page = html_of(alice.post(address, {"policy": "PRICE", "shares": "x", "symbols": several}))
    for text in ("is none of the accounts", "write Account:", "Whole numbers,", "Name 2 to 10"):
        assert text in page, text
    alone = html_of(alice.post(address, {"policy": "PRICE"}, follow=True))
    assert "Name 2 to 10 accounts." in alone
    alice.post(address, {"policy": "", "accounts": [str(spare.pk)]})
    assert (refresh(subscription).route_policy, subscription.routes.count()) == ("", 0)


def test_subscription_gets_limits_that_are_not_looser_than_the_presets(
    world: World, alice: Client
) -> None:
    subscription = world.subscriptions[0]
    preset = refresh(subscription.connection).preset
    type(preset).objects.filter(pk=preset.pk).update(max_open_orders=5)
    address = f"/subscriptions/{subscription.pk}/limits/"
    assert address in html_of(alice.get("/feeds/"))
    page = html_of(alice.get(address))
    assert "Max symbol exposure, %" in page
    assert 'placeholder="Preset: 5"' in page
    assert 'placeholder="The preset has no limit"' in page
    typed = {"max_open_orders": "6", "max_slippage": "1", "trading_sessions": "mon 8:00-9:00"}
    refused = alice.post(address, typed)
    assert refused.status_code == 422
    assert "limit is 5: a subscription" in html_of(refused)
    both = html_of(alice.post(address, typed | {"max_slippage": "abc"}))
    assert "is not a plain decimal" in both
    assert "limit is 5: a subscription" in both
    page = html_of(alice.post(address, typed | {"max_open_orders": "5"}, follow=True))
    assert "Saved. It applies to each entry that is decided from now on." in page
    changed = refresh(subscription)
    assert (changed.max_open_orders, changed.max_slippage_pips) == (5, 1)
    assert changed.trading_sessions == ["MON 08:00-09:00"]


@pytest.mark.parametrize("wrong", ["0", "-1", "1e3", "NaN", "", "one"])
def test_invalid_multiplier_is_refused(world: World, alice: Client, wrong: str) -> None:
    typed = {
        "account": str(world.mt5.pk),
        "multiplier": wrong,
        "directions": "BUY",
        "priority": "2",
    }
    response = alice.post("/feeds/kiwi-carry/subscribe/", typed)
    assert response.status_code == 422
    assert "Nothing was saved." in html_of(response)
    assert Subscription.objects.filter(feed=world.carry, connection=world.mt5).count() == 0


def test_another_tenants_account_cannot_be_subscribed(world: World, alice: Client) -> None:
    typed = {
        "account": str(world.bobs.pk),
        "multiplier": "1",
        "directions": "BOTH",
        "priority": "2",
    }
    assert alice.post("/feeds/kiwi-carry/subscribe/", typed).status_code == 422


def test_working_order_is_cancelled_at_the_broker(
    world: World, alice: Client, enqueued: list[Any], django_capture_on_commit_callbacks: Committed
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        page = html_of(alice.post(f"/orders/{world.working.pk}/cancel/", follow=True))
    assert "Cancellation requested" in page
    assert enqueued == ["pending actions"]
    ended = html_of(alice.post(f"/orders/{world.euro_order.pk}/cancel/", follow=True))
    assert "Nothing was changed. The order is FILLED already." in ended
    assert "(STATE_CONFLICT)" in ended


def test_notifications_are_marked_as_read_one_by_one_and_together(
    world: World, alice: Client
) -> None:
    assert 'aria-label="2 unread"' in html_of(alice.get("/"))
    alice.post(f"/inbox/{world.notification.pk}/read/")
    assert 'aria-label="1 unread"' in html_of(alice.get("/"))
    alice.post("/inbox/read/")
    assert "All read." in html_of(alice.get("/inbox/"))
    refresh(world.notification)
    assert inbox(world.bob.pk).filter(read_at=None).count() == 1
