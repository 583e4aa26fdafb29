"""The end and the symbols of a subscription, by form."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from common.clocks import market_now
from connections.models import Subscription
from tests.html import html_of
from tests.portal.conftest import SignedIn, as_web_process
from tests.portal.factories import World

pytestmark = pytest.mark.django_db
END = datetime(2031, 5, 1, 10, 30, 15, tzinfo=UTC)


@pytest.fixture
def alice(signed_in: SignedIn, world: World) -> Client:
    world.alice.time_zone = "Asia/Tokyo"  # what is typed is UTC all the same
    world.alice.save(update_fields=["time_zone"])
    return as_web_process(signed_in(world.alice))


@pytest.fixture
def taken(world: World) -> Subscription:
    return world.subscriptions[0]


def typed(client: Client, taken: Subscription, **changes: str) -> dict[str, Any]:
    """What the browser sends: every field as the page shows it, with these changes."""
    form = client.get(f"/subscriptions/{taken.pk}/edit/").context["question"].form
    shown: dict[str, Any] = {}
    for bound in form:
        value = bound.value()
        shown[bound.html_name] = shown[bound.html_initial_name] = "" if value is None else value
    page = html_of(client.get(f"/subscriptions/{taken.pk}/edit/"))
    if end := re.search(r'name="expires_at" value="([^"]*)"', page):
        shown["expires_at"] = shown["initial-expires_at"] = end[1]
    return {**shown, **changes}


def test_end_and_symbols_are_changed_and_shown(alice: Client, taken: Subscription) -> None:
    sent = typed(
        alice, taken, expires_at="2031-05-01T10:30:15", symbol_map="EUR/USD = EURUSD.m\r\nXAU/USD=GOLD"
    )
    assert alice.post(f"/subscriptions/{taken.pk}/edit/", sent).status_code == 302
    taken.refresh_from_db()
    assert (taken.expires_at, taken.symbol_map) == (
        END, {"EUR/USD": "EURUSD.m", "XAU/USD": "GOLD"},
    )  # fmt: skip
    page = html_of(alice.get(f"/subscriptions/{taken.pk}/edit/"))
    assert 'value="2031-05-01T10:30:15"' in page
    assert "EUR/USD = EURUSD.m\nXAU/USD = GOLD" in page
    listed = " ".join(html_of(alice.get("/feeds/")).split())
    assert "until 1 May 2031 19:30" in listed  # Tokyo
    assert "EUR/USD = EURUSD.m, XAU/USD = GOLD" in listed


def test_what_was_not_touched_stays_as_it_is(alice: Client, taken: Subscription) -> None:
    """An end to the microsecond, as the API takes it, is not cut off by saving another field."""
    exact = END.replace(microsecond=123456)
    Subscription.objects.filter(pk=taken.pk).update(
        expires_at=exact, symbol_map={"EUR/USD": "EURUSD.m"}
    )
    sent = typed(alice, taken, multiplier="2")
    assert alice.post(f"/subscriptions/{taken.pk}/edit/", sent).status_code == 302
    taken.refresh_from_db()
    assert (taken.multiplier, taken.expires_at) == (2, exact)
    assert taken.symbol_map == {"EUR/USD": "EURUSD.m"}


def test_empty_fields_take_end_and_symbols_away(alice: Client, taken: Subscription) -> None:
    Subscription.objects.filter(pk=taken.pk).update(
        expires_at=END, symbol_map={"EUR/USD": "EURUSD.m"}
    )
    sent = typed(alice, taken, expires_at="", symbol_map="")
    assert alice.post(f"/subscriptions/{taken.pk}/edit/", sent).status_code == 302
    taken.refresh_from_db()
    assert (taken.expires_at, taken.symbol_map) == (None, {})


@pytest.mark.parametrize(("changes", "fault"), [
    ({"expires_at": "2020-01-01T00:00"}, "This has passed: it is "),
    ({"expires_at": "tomorrow"}, "Enter a valid date/time."),
    ({"symbol_map": "EUR/USD"}, "EUR/USD: write EUR/USD = EURUSD.m"),
    ({"symbol_map": "EUR/USD = a\nEUR/USD = b"}, "EUR/USD has two symbols: leave one."),
    ({"symbol_map": "EURO = EURUSD"}, "EURO"),
    ({"symbol_map": "EUR/USD = " + "x" * 20_000}, "At most 10,000 characters."),
])  # fmt: skip
def test_faults_are_beside_their_field(
    alice: Client, taken: Subscription, changes: dict[str, str], fault: str
) -> None:
    before = (taken.expires_at, taken.symbol_map)
    answer = alice.post(f"/subscriptions/{taken.pk}/edit/", typed(alice, taken, **changes))
    assert answer.status_code == 422
    (name,) = changes
    form = answer.context["question"].form
    assert fault in " ".join(form.errors[name])
    taken.refresh_from_db()
    assert (taken.expires_at, taken.symbol_map) == before


def test_end_that_has_passed_is_shown_and_does_not_block_the_form(
    alice: Client, taken: Subscription
) -> None:
    Subscription.objects.filter(pk=taken.pk).update(expires_at=market_now() - timedelta(days=1))
    listed = " ".join(re.sub(r"<[^>]+>", " ", html_of(alice.get("/feeds/"))).split())
    assert "Ended on " in listed
    account = " ".join(
        re.sub(r"<[^>]+>", " ", html_of(alice.get(f"/accounts/{taken.connection_id}/"))).split()
    )
    assert "Ended" in account
    sent = typed(alice, taken, multiplier="2")
    assert alice.post(f"/subscriptions/{taken.pk}/edit/", sent).status_code == 302


def test_account_subscribes_with_an_end_and_symbols(alice: Client, world: World) -> None:
    page = alice.get("/feeds/kiwi-carry/subscribe/")
    (account, *_) = page.context["question"].form.fields["account"].choices
    sent = {
        "account": account[0], "multiplier": "1", "directions": "BOTH", "priority": "2",
        "expires_at": "2031-05-01T10:30:15", "symbol_map": "EUR/USD = EURUSD.x",
    }  # fmt: skip
    answer = alice.post("/feeds/kiwi-carry/subscribe/", sent)
    assert answer.status_code == 302, answer.context["question"].form.errors
    made = Subscription.objects.get(connection=account[0], feed=world.carry)
    assert (made.expires_at, made.symbol_map) == (END, {"EUR/USD": "EURUSD.x"})


def test_preset_is_assigned_with_what_becomes_of_waiting_entries(
    alice: Client, world: World
) -> None:
    """The question says that waiting entries are sized anew; the answer said the next signal."""
    page = alice.get(f"/presets/{world.own_preset.pk}/assign/")
    (account, *_) = page.context["question"].form.fields["account"].choices
    done = alice.post(
        f"/presets/{world.own_preset.pk}/assign/", {"account": account[0]}, follow=True
    )
    text = html_of(done)
    assert "for each entry that is decided from now on" in text
    assert "from the next signal on" not in text
