"""A provider's pages: create a feed, write, publish, and read results without others' data."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from analytics.orders.followers import results_of
from common.clocks import market_now
from connections.models import KillSwitch, Subscription, SubscriptionInterval
from connections.subscriptions.followers import followers_of
from portal.selectors.publishing import reach_points
from signals.feeds.terms import change_terms
from signals.models import ApprovalRequest, Feed, SavedDraft, Signal
from signals.publishing.drafts import preview_draft
from signals.publishing.preview import Outcome, Preview, Reason, rounded, visible_to
from tests.connections import make
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import World, order, signal
from users.models import User

ENTRY = {
    "symbol": "EUR/USD", "direction": "BUY", "order_type": "MARKET", "risk_category": "normal",
}  # fmt: skip
KEY = "5f2b1c1e-0000-4000-8000-000000000001"


def at(name: str, feed: Feed, **more: Any) -> str:
    return reverse(f"portal:{name}", kwargs={"slug": feed.slug, **more})


def draft_of(world: World, **body: str) -> SavedDraft:
    return SavedDraft.objects.create(
        feed=world.own, action="OPEN", created_by=world.alice,
        body={"symbol": "EUR/USD", "direction": "BUY", **body},
    )  # fmt: skip


def follow(feed: Feed, count: int, **fields: Any) -> list[Subscription]:
    """Subscribe `count` accounts of as many new users."""
    return [make.subscription(make.connection(**fields), feed) for _ in range(count)]


def test_feed_is_created_once_by_two_clicks(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    client = signed_in(world.alice)
    typed = {"name": "Night desk", "is_public": "on", "description": "Two a day."}
    first, second = (client.post(reverse("portal:publishing_new"), typed) for _ in range(2))
    assert first["Location"] == second["Location"] == "/publishing/night-desk/"
    made = Feed.objects.get(slug="night-desk")
    assert (made.owner, made.is_approved) == (world.alice, False)
    page = html_of(client.get("/publishing/night-desk/"))
    assert "Not approved" in page
    assert "Ask for approval" in page


def test_all_faults_of_a_new_feed_are_shown_and_what_was_typed_stays(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    typed = {"name": "Night", "slug": "No slug!", "max_signal_currency": "U$",
             "max_price_deviation_percent": "-1"}  # fmt: skip
    response = signed_in(world.alice).post(reverse("portal:publishing_new"), typed)
    page = html_of(response)
    assert response.status_code == 422
    assert page.count("fc-error") == 3
    assert 'value="No slug!"' in page


def test_arabic_name_of_200_characters_is_shown_everywhere(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    name, client = "إشارات" * 33 + "اب", signed_in(world.alice)
    created = client.post(reverse("portal:publishing_new"), {"name": name})
    for address in (created["Location"], reverse("portal:publishing"), reverse("portal:feeds")):
        assert name in html_of(client.get(address))


def test_approval_is_asked_for_and_the_answer_shown(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    client = signed_in(world.alice)
    client.post(reverse("portal:publishing_new"), {"name": "Night desk", "is_public": "on"})
    made = Feed.objects.get(slug="night-desk")
    for _ in range(2):  # a double click
        client.post(at("publishing_approval", made), {"text": "Majors only."})
    assert ApprovalRequest.objects.get().text == "Majors only."
    assert "Majors only." in html_of(client.get(at("publishing_feed", made)))
    with connection.cursor() as cursor:
        cursor.execute("RESET ROLE")
    admin = signed_in(world.olga)
    queue = reverse("admin:signals_feed_requests")
    assert "Majors only." in html_of(admin.get(queue))
    refuse = reverse("admin:signals_feed_request_refuse", args=[ApprovalRequest.objects.get().pk])
    assert admin.post(refuse, {"sentence": ""}).status_code == 200
    assert ApprovalRequest.objects.get().is_open
    admin.post(refuse, {"sentence": "Write your terms first."})
    page = html_of(client.get(at("publishing_feed", made)))
    assert "Refused" in page
    assert "Write your terms first." in page
    assert "olga" not in page
    client.post(at("publishing_approval", made), {"text": "Done."})
    newest = ApprovalRequest.objects.order_by("-id")[0]
    admin.post(
        reverse("admin:signals_feed_request_approve", args=[newest.pk]), {"sentence": "Welcome."}
    )
    page = html_of(client.get(at("publishing_feed", made)))
    assert "Granted" in page
    assert "Welcome." in page
    made.refresh_from_db()
    assert made.reaches_admins


def test_settings_state_what_they_withdraw_before_they_save(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    client, address = signed_in(world.alice), at("publishing_settings", world.own)
    typed = {
        "name": world.own.name, "description": "", "is_public": "on",
        "max_price_deviation_percent": "50", "max_level_deviation_percent": "400",
        "alerts_per_minute": "120",
    }  # fmt: skip
    asked = client.post(address, typed)
    page = html_of(asked)
    assert "Withdraws your own approval of the feed" in page
    assert "Withdraws the approval of 1 signal" in page
    world.own.refresh_from_db()
    assert (world.own.is_public, world.own.is_approved) == (False, True)
    confirmed = {"confirmed": '{"is_public": true}'}
    assert client.post(address, typed | confirmed).status_code == 302
    world.own.refresh_from_db()
    assert (world.own.is_public, world.own.is_approved) == (True, False)


def test_provider_sets_the_rules_of_alerts(world: World, signed_in: SignedIn, as_web: None) -> None:
    client, address = signed_in(world.alice), at("publishing_settings", world.own)
    typed = {
        "name": world.own.name, "max_price_deviation_percent": "50",
        "max_level_deviation_percent": "400", "alerts_per_minute": "30",
        "alert_symbols": "EURUSD, xau/usd\nEUR/USD", "alert_sources": "tradingview 203.0.113.9",
        "alerts_signed_only": "on",
    }  # fmt: skip
    assert client.post(address, typed).status_code == 302
    feed = world.own
    feed.refresh_from_db()
    assert (feed.alerts_per_minute, feed.alerts_signed_only) == (30, True)
    assert feed.alert_symbols == ["EUR/USD", "XAU/USD"]
    assert feed.alert_sources == ["tradingview", "203.0.113.9"]
    assert "EUR/USD\nXAU/USD</textarea>" in client.get(address).text
    wrong = {"alerts_per_minute": "0", "alert_symbols": "E!", "alert_sources": "home"}
    refused = client.post(address, typed | wrong)
    assert refused.status_code == 422
    assert html_of(refused).count("fc-error") == 3
    feed.refresh_from_db()
    assert feed.alert_symbols == ["EUR/USD", "XAU/USD"]


def test_followers_see_when_terms_were_changed(world: World, signed_in: SignedIn) -> None:
    change_terms(world.breakout.pk, "20 a month.", by=world.paula)
    change_terms(world.breakout.pk, "30 a month.", by=world.paula)
    client = signed_in(world.alice)
    assert "Terms last changed" in html_of(client.get(reverse("portal:feeds")))
    page = html_of(client.get(at("feed_terms", world.breakout)))
    assert page.index("30 a month.") < page.index("20 a month.")


def test_writing_shows_all_faults_and_saves_the_draft_with_them(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    client, address = signed_in(world.alice), at("publishing_open", world.own)
    typed = ENTRY | {"key": KEY, "order_type": "LIMIT", "sl": "abc", "trailing_step": "-1"}
    response = client.post(address, typed | {"then": "reach"})
    page = html_of(response)
    assert response.status_code == 422
    assert page.count("fc-error") == 3
    assert 'value="abc"' in page
    assert '<details class="fc-options" open>' in page
    saved = client.post(address, typed | {"then": "save"})
    assert saved["Location"] == at("publishing_drafts", world.own)
    draft = SavedDraft.objects.get(key=KEY)
    assert draft.body["sl"] == "abc"
    assert 'value="abc"' in html_of(client.get(at("publishing_draft", world.own, pk=draft.pk)))


def test_draft_is_shown_with_its_reach_and_published_once_by_two_clicks(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    client = signed_in(world.alice)
    typed = ENTRY | {"key": KEY, "then": "reach"}
    first, second = (client.post(at("publishing_open", world.own), typed) for _ in range(2))
    assert first["Location"] == second["Location"]
    page = html_of(client.get(first["Location"]))
    assert "No account follows the feed now" in page
    assert "reaches your own accounts only" in page
    clicks = [client.post(first["Location"], {"version": "1"}) for _ in range(2)]
    published = Signal.objects.get(feed=world.own, published_at__isnull=False)
    expected = at("publishing_signal", world.own, pk=published.pk)
    assert [click["Location"] for click in clicks] == [expected, expected]
    page = html_of(client.get(expected))
    assert "nothing was sent twice" in page
    assert client.get(first["Location"])["Location"] == expected  # the back button


def test_second_draft_with_an_external_id_is_refused_on_its_page(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    client, api = signed_in(world.alice), f"/api/v1/feeds/{world.own.slug}/drafts/"
    body = {"symbol": "EURUSD", "direction": "BUY", "sl": "1.30", "external_id": "breakout-7"}
    pages = []
    for _ in range(2):  # the form has no external id; a program's draft may have one
        made = client.post(api, {"action": "OPEN", "body": body}, "application/json")
        pages.append(at("publishing_draft_publish", world.own, pk=made.json()["id"]))
    assert client.post(pages[0], {"version": "1"}).status_code == 302
    refused = client.post(pages[1], {"version": "1"}, follow=True)
    assert refused.redirect_chain == [(pages[1], 302)]
    published = Signal.objects.get(feed=world.own, external_id="breakout-7")
    assert f"became {published.number}" in html_of(refused)


def test_publishing_what_another_window_changed_is_refused(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    client, draft = signed_in(world.alice), world.draft
    page = at("publishing_draft", world.own, pk=draft.pk)
    changed = ENTRY | {"key": str(draft.key), "version": "1", "sl": "1.2", "then": "reach"}
    client.post(page, changed)
    client.post(at("publishing_draft_publish", world.own, pk=draft.pk), {"version": "1"})
    draft.refresh_from_db()
    assert (draft.version, draft.signal) == (2, None)
    late = client.post(page, changed | {"sl": "1.1"})  # the same old form once more
    assert late.status_code == 422
    assert "changed since this page was shown" in html_of(late)


def test_trade_is_modified_closed_and_cancelled_by_form(
    world: World, signed_in: SignedIn, request: pytest.FixtureRequest
) -> None:
    client = signed_in(world.alice)
    opened = Signal.objects.create(
        feed=world.own, approval="APPROVED", currency_pair="EUR/USD", direction="BUY",
        order_type="LIMIT", open_price=Decimal("1.38"), published_at=market_now(),
    )  # fmt: skip
    request.getfixturevalue("as_web")
    steps = (
        ("publishing_modify", {"sl": "1.37"}, KEY),
        ("publishing_close", {"close_fraction": "0.5"}, KEY[:-1] + "2"),
    )
    for name, fields, key in steps:
        form = html_of(client.get(f"{at(name, world.own)}?trade={opened.pk}"))
        assert f'value="{opened.pk}" selected' in form
        typed = {"refers_to": str(opened.pk), "key": key, "then": "reach", **fields}
        reach = client.post(at(name, world.own), typed)["Location"]
        assert "nothing is changed" in html_of(client.get(reach))
        client.post(reach, {"version": "1"})
    modify, close = opened.followers.order_by("pk")
    assert (modify.sl, close.close_fraction) == (Decimal("1.37"), Decimal("0.5"))
    assert modify.is_published
    assert close.is_published
    cancel = at("publishing_signal_cancel", world.own, pk=opened.pk)
    assert "Cancels the orders that still work" in html_of(client.get(cancel))
    client.post(cancel)
    opened.refresh_from_db()
    assert opened.cancelled_at is not None


def test_approved_signal_is_published_from_its_page(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    client = signed_in(world.alice)
    address = at("publishing_signal_publish", world.own, pk=world.waiting.pk)
    assert "Publish, although nothing would be sent" in html_of(client.get(address))
    for _ in range(2):
        client.post(address)
    world.waiting.refresh_from_db()
    assert world.waiting.is_published


def test_page_of_a_signal_that_waits_for_approval_is_not_final(
    world: World, signed_in: SignedIn
) -> None:
    client = signed_in(world.alice)
    waiting = Signal.objects.create(feed=world.own, currency_pair="EUR/USD", direction="BUY")
    page = html_of(client.get(at("publishing_signal", world.own, pk=waiting.pk)))
    assert "Updated every 15 s" in page
    Signal.objects.filter(pk=waiting.pk).update(approval="REJECTED")
    page = html_of(client.get(at("publishing_signal", world.own, pk=waiting.pk)))
    assert "this page no longer updates" in page


@pytest.mark.parametrize(("count", "text"), [(1, "follower follows"), (2, "followers follow")])
def test_accounts_that_follow_are_counted_in_words(world: World, count: int, text: str) -> None:
    expected = Preview(
        market_now(), 0, (Reason(Outcome.SKIPPED, None, count),), followers=count
    )  # fmt: skip
    signal = Signal(feed=world.own, currency_pair="EUR/USD", direction="BUY")
    points = [one.text for one in reach_points(world.alice, signal, expected)]
    assert any(point.endswith(f"of {count} {text} the feed.") for point in points), points


def test_kill_switch_is_stated_before_publishing(world: World, signed_in: SignedIn) -> None:
    KillSwitch.objects.create(scope="ALL", mode="REDUCING", reason="news", set_by=world.olga)
    address = at("publishing_draft_publish", world.own, pk=world.draft.pk)
    page = html_of(signed_in(world.alice).get(address))
    assert "An operator paused all trading here. Entries are skipped" in page
    assert "exits still work" in page


@pytest.mark.usefixtures("stopped_clock")  # the month does not end meanwhile
def test_followers_are_counted_without_names_and_rare_kinds_together(
    world: World, signed_in: SignedIn
) -> None:
    paused, *_others = follow(world.own, 6)
    paused.is_paused = True
    paused.save(update_fields=["is_paused"])
    [ibkr] = follow(world.own, 1, type="ibkr", name="Secret desk")
    [ended] = follow(world.own, 1)
    ended.archived_at = market_now()
    ended.save(update_fields=["archived_at"])
    SubscriptionInterval.objects.update(started_at=market_now())  # yesterday may be last month
    counted = followers_of(world.own.pk)
    assert (counted.followers, counted.active, counted.paused) == (7, 6, 1)
    assert (counted.ended, counted.ended_this_month, counted.new) == (1, 1, 7)
    assert [(kind.broker_type, kind.accounts) for kind in counted.kinds] == [("paper", 6), ("", 1)]
    page = html_of(signed_in(world.alice).get(at("publishing_followers", world.own)))
    assert "Secret desk" not in page
    assert "ibkr" not in page
    assert ibkr.connection.owner_name not in page


def test_follower_that_came_last_month_is_not_new(world: World) -> None:
    [subscription] = follow(world.own, 1)
    subscription.intervals.update(started_at=market_now() - timedelta(days=40))
    assert followers_of(world.own.pk).new == 0


def test_results_count_accounts_and_hide_reasons_of_their_own(
    world: World, signed_in: SignedIn
) -> None:
    taken = signal(world.breakout, market_now(), currency_pair="EUR/USD", direction="BUY")
    connections = [subscription.connection for subscription in follow(world.breakout, 4)]
    order(connections[0], taken, "FILLED", Decimal(1000), Decimal("1.38"))
    order(connections[1], taken, "DENIED", reason="NO_MONEY", detail="has 12 USD")
    order(connections[2], taken, "DENIED", reason="STOP_AT_ENTRY")
    order(connections[3], taken, "SKIPPED", reason="CONNECTION_PAUSED")
    result = results_of([taken])[taken.pk]
    assert (result.breakdown, result.accounts) == ("1 filled, 1 skipped, 2 denied", 4)
    reasons = {(one.share, one.code): one.accounts for one in result.reasons}
    assert reasons == {("skipped", ""): 1, ("denied", ""): 1, ("denied", "STOP_AT_ENTRY"): 1}
    page = html_of(signed_in(world.paula).get(at("publishing_signal", world.breakout, pk=taken.pk)))
    assert "1 filled, 1 skipped, 2 denied" in page
    for private in ("NO_MONEY", "12 USD", "CONNECTION_PAUSED", connections[0].name):
        assert private not in page


@pytest.mark.parametrize(
    ("owners", "others", "shown"),
    [
        (4, 4, None), (5, 5, Decimal(120_000)), (5, 4, None), (6, 5, Decimal(120_000)),
        (1, 0, Decimal(120_000)),
    ],
    ids=["four", "five", "four and the provider", "five and the provider", "only the provider"],
)  # fmt: skip
def test_size_of_few_followers_is_not_shown(
    world: World, owners: int, others: int, shown: Decimal | None
) -> None:
    expected = Preview(
        market_now(), owners, followers=owners, sent_followers=owners, sent_others=others,
        quantity=Decimal(123_456),
    )  # fmt: skip
    visible = visible_to(world.paula, Signal(feed=world.breakout), expected)
    assert visible.quantity == shown
    assert rounded(Decimal("0.01249")) == Decimal("0.012")


def test_preview_counts_followers_and_what_they_would_send(world: World) -> None:
    follow(world.own, 3)
    _signal, expected = preview_draft(draft_of(world))
    assert (expected.candidates, expected.skipped, expected.sent_followers) == (3, 3, 0)
    Feed.objects.filter(pk=world.own.pk).update(is_approved=True, approved_by_owner=False)
    _signal, expected = preview_draft(SavedDraft.objects.get(pk=draft_of(world).pk))
    assert (expected.candidates, expected.skipped, expected.followers) == (3, 0, 3)


def test_close_counts_accounts_followers_and_quantity(world: World) -> None:
    draft = SavedDraft.objects.create(
        feed=world.breakout, action="CLOSE", created_by=world.paula,
        body={"refers_to": world.gold.pk, "close_fraction": "0.5"},
    )  # fmt: skip
    _signal, expected = preview_draft(draft)
    assert (expected.sent, expected.sent_followers, expected.sent_others) == (1, 1, 1)
    assert expected.quantity == Decimal("7.5")


def test_pages_take_few_statements(world: World, signed_in: SignedIn) -> None:
    for number in range(40):
        signal(
            world.own, market_now() - timedelta(minutes=number), currency_pair="EUR/USD",
            direction="BUY",
        )  # fmt: skip
    client = signed_in(world.alice)
    first = html_of(client.get(at("publishing_signals", world.own)))
    assert "?before=" in first
    for name in ("feed", "signals", "drafts", "followers", "settings", "choose", "modify"):
        with CaptureQueriesContext(connection) as captured:
            client.get(at(f"publishing_{name}", world.own))
        statements = [query["sql"] for query in captured if "SAVEPOINT" not in query["sql"]]
        assert len(statements) <= 12, name


def test_second_page_goes_on_where_the_first_ends(
    world: World, signed_in: SignedIn, request: pytest.FixtureRequest
) -> None:
    now = market_now()
    made = [
        signal(world.own, now - timedelta(minutes=n), currency_pair="EUR/USD", direction="BUY")
        for n in range(32)
    ]
    request.getfixturevalue("as_web")
    client = signed_in(world.alice)
    page = html_of(client.get(f"{at('publishing_signals', world.own)}?before={made[29].pk}"))
    assert made[30].number in page
    assert made[31].number in page
    assert made[29].number not in page


def test_feed_without_followers_has_empty_states(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    client = signed_in(world.alice)
    followers = html_of(client.get(at("publishing_followers", world.own)))
    assert "No followers yet" in followers
    assert "Nothing published yet" in html_of(client.get(at("publishing_signals", world.own)))
    nora: User = world.nora
    assert "You publish no feed yet" in html_of(signed_in(nora).get(reverse("portal:publishing")))


def test_archive_says_what_it_ends(world: World, signed_in: SignedIn, as_web: None) -> None:
    client, address = signed_in(world.alice), at("publishing_archive", world.own)
    page = html_of(client.get(address))
    assert "Withdraws the approval of 1 signal" in page
    assert "Its 1 drafts can no longer be published." in page
    client.post(address)
    world.own.refresh_from_db()
    assert world.own.archived_at is not None
    draft = at("publishing_draft_publish", world.own, pk=world.draft.pk)
    assert "The feed is archived." in html_of(client.get(draft))


def test_archive_says_that_open_trades_cannot_be_closed_afterwards(
    world: World, signed_in: SignedIn, request: pytest.FixtureRequest
) -> None:
    waiting = signal(world.own, market_now(), currency_pair="EUR/USD", direction="BUY")
    order(world.mt5, waiting, status="SUBMITTED", quantity=Decimal(1_000))
    over = signal(world.own, market_now(), currency_pair="GBP/USD", direction="BUY")
    order(world.mt5, over, status="CANCELLED")
    request.getfixturevalue("as_web")
    sentence = "1 of its trades is open or waiting. Afterwards the feed can neither close nor"
    page = at("publishing_archive", world.own)
    assert sentence in html_of(signed_in(world.alice).get(page))
    for_gold = html_of(signed_in(world.paula).get(at("publishing_archive", world.breakout)))
    assert "of its trades" in for_gold  # on accounts of others
