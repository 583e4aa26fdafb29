"""The end and the symbols of a subscription, by form."""

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest
from django.test import Client

from common.clocks import market_now
from connections.models import Subscription
from tests.connections import make
from tests.html import html_of
from tests.portal.conftest import SignedIn, as_web_process
from tests.portal.factories import World

pytestmark = pytest.mark.django_db
END = datetime(2099, 5, 1, 10, 30, 15, tzinfo=UTC)


@pytest.fixture
def alice(signed_in: SignedIn, world: World) -> Client:
    world.alice.time_zone = "Asia/Tokyo"  # what is typed is UTC all the same
    world.alice.save(update_fields=["time_zone"])
    return as_web_process(signed_in(world.alice))


@pytest.fixture
def taken(world: World) -> Subscription:
    return world.subscriptions[0]


class Fields(HTMLParser):
    """What a browser sends of a form: each named field with its value."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self.name = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("select", "textarea"):
            self.name = given.get("name") or ""
            self.found[self.name] = ""
        elif tag == "input" and given.get("name"):
            self.found[given["name"] or ""] = given.get("value") or ""
        elif tag == "option" and "selected" in given:
            self.found[self.name] = given.get("value") or ""

    def handle_data(self, data: str) -> None:
        if self.get_starttag_text() is not None and self.lasttag == "textarea" and self.name:
            self.found[self.name] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self.name = ""


def fields_of(client: Client, path: str) -> dict[str, str]:
    return Fields(b"".join(client.get(path)).decode()).found


def typed(client: Client, taken: Subscription, **changes: str) -> dict[str, str]:
    """What the browser sends: every field as the page shows it, with these changes."""
    return fields_of(client, f"/subscriptions/{taken.pk}/edit/") | changes


def test_end_and_symbols_are_changed_and_shown(alice: Client, taken: Subscription) -> None:
    sent = typed(
        alice,
        taken,
        expires_at="2099-05-01T10:30:15",
        symbol_map="EUR/USD = EURUSD.m\r\nXAU/USD=GOLD",
    )
    assert alice.post(f"/subscriptions/{taken.pk}/edit/", sent).status_code == 302
    taken.refresh_from_db()
    assert (taken.expires_at, taken.symbol_map) == (
        END, {"EUR/USD": "EURUSD.m", "XAU/USD": "GOLD"},
    )  # fmt: skip
    shown = typed(alice, taken)
    assert shown["expires_at"] == "2099-05-01T10:30:15"
    assert shown["symbol_map"].split("\n")[-2:] == ["EUR/USD = EURUSD.m", "XAU/USD = GOLD"]
    listed = " ".join(html_of(alice.get("/feeds/")).split())
    assert "until 1 May 2099 19:30" in listed  # Tokyo
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
    page = html_of(answer)
    assert fault in page[page.index(f'name="{name}"') :].partition("fc-field")[0]
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
    make.ready(world.mt5, "NZD/USD")
    sent = {
        "account": str(world.mt5.pk), "multiplier": "1", "directions": "BOTH", "priority": "2",
        "expires_at": "2099-05-01T10:30:15", "symbol_map": "XAU/USD = GOLD",
    }  # fmt: skip
    answer = alice.post("/feeds/kiwi-carry/subscribe/", sent)
    assert answer.status_code == 302
    made = Subscription.objects.get(connection=world.mt5, feed=world.carry)
    assert (made.expires_at, made.symbol_map) == (END, {"XAU/USD": "GOLD"})


def test_preset_is_assigned_with_what_becomes_of_waiting_entries(
    alice: Client, world: World
) -> None:
    """The question says that waiting entries are sized by it; so does the message after it."""
    path = f"/presets/{world.own_preset.pk}/assign/"
    text = html_of(alice.post(path, {"account": str(world.mt5.pk)}, follow=True))
    assert "for each entry that is decided from now on" in text
    assert "from the next signal on" not in text
