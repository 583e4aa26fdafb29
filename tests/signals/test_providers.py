"""What providers keep beside a feed: requests for approval, terms and drafts."""

import threading
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.db.utils import ProgrammingError

from common.clocks import market_now
from common.errors import ConflictError, InvalidInputError, NotAllowedError
from common.permissions import Role
from common.reason_codes import Code
from events.context import EventContext
from events.messages import render
from events.models import Event, EventKind
from signals.feeds.approval_requests import (
    grant_approval,
    latest_request,
    refuse_approval,
    request_approval,
    withdraw_request,
)
from signals.feeds.services import archive_feed, create_feed, update_feed, withdrawn_by
from signals.feeds.terms import change_terms, current_terms
from signals.forms.acts import ActForm, shown_values
from signals.models import Action, ApprovalRequest, Feed, FeedTerms, SavedDraft, Signal
from signals.publishing.drafts import discard_draft, open_drafts, publish_draft, store_draft
from signals.reading.errors import field_errors
from tests.roles import staff
from users.models import User
from users.tenancy import act_as

ENTRY = {"symbol": "EUR/USD", "direction": "BUY"}


def draft_of(feed: Feed, body: dict[str, Any] = ENTRY, **fields: Any) -> SavedDraft:
    return store_draft(feed.pk, action=Action.OPEN, body=body, by=feed.owner, **fields)


def outcome_of(feed: Feed) -> tuple[str, str]:
    row = latest_request(feed)
    assert row is not None
    return row.outcome, row.sentence


def test_second_request_returns_the_open_one(unapproved: Feed) -> None:
    first, is_new = request_approval(unapproved.pk, text="Majors only.", by=unapproved.owner)
    again = request_approval(unapproved.pk, text="Other words.", by=unapproved.owner)
    assert (is_new, again) == (True, (first, False))
    assert ApprovalRequest.objects.get().text == "Majors only."


def test_grant_approves_the_feed_and_keeps_the_sentence(unapproved: Feed, operator: User) -> None:
    request_approval(unapproved.pk, by=unapproved.owner)
    assert grant_approval(unapproved.pk, sentence="Welcome.", by=operator)
    assert not grant_approval(unapproved.pk, by=operator)
    unapproved.refresh_from_db()
    assert (unapproved.reaches_admins, outcome_of(unapproved)) == (True, ("GRANTED", "Welcome."))


def test_refusal_needs_a_sentence_and_can_be_followed_by_a_new_request(
    unapproved: Feed, operator: User
) -> None:
    request_approval(unapproved.pk, by=unapproved.owner)
    with pytest.raises(InvalidInputError) as missing:
        refuse_approval(unapproved.pk, sentence="  ", by=operator)
    assert (missing.value.code, missing.value.field) == (Code.FIELD_REQUIRED, "sentence")
    assert refuse_approval(unapproved.pk, sentence="Write terms first.", by=operator)
    assert not refuse_approval(unapproved.pk, sentence="Write terms first.", by=operator)
    unapproved.refresh_from_db()
    assert not unapproved.is_approved
    assert outcome_of(unapproved) == ("REFUSED", "Write terms first.")
    assert request_approval(unapproved.pk, by=unapproved.owner)[1]


def test_operators_are_notified_of_a_request_and_the_owner_of_the_answer(
    unapproved: Feed, operator: User
) -> None:
    request_approval(unapproved.pk, text="Three years of gold.", by=unapproved.owner)
    refuse_approval(unapproved.pk, sentence="Write terms first.", by=operator)
    request_approval(unapproved.pk, by=unapproved.owner)
    withdraw_request(unapproved.pk, by=unapproved.owner)  # the owner needs no notice of that
    asked, refused, again = Event.objects.order_by("pk")
    assert (asked.kind, asked.user_id) == (again.kind, again.user_id) == (
        EventKind.FEED_APPROVAL_ASKED, None,
    )  # fmt: skip
    assert asked.payload["text"] == "Three years of gold."
    assert (refused.kind, refused.user_id) == (
        EventKind.FEED_APPROVAL_DECIDED, unapproved.owner_id,
    )  # fmt: skip
    message = render(
        EventContext(
            refused.pk, refused.kind, refused.user_id, None, None, None, refused.payload,
            refused.created_at,
        )
    )  # fmt: skip
    assert message.title == f"Your feed {unapproved.slug} was refused"
    assert "Write terms first." in message.body


def test_owner_decides_no_request(unapproved: Feed) -> None:
    request_approval(unapproved.pk, by=unapproved.owner)
    with pytest.raises(NotAllowedError):
        grant_approval(unapproved.pk, by=unapproved.owner)
    with connection.cursor() as cursor:
        cursor.execute("SET ROLE fillcast_web")
    act_as(unapproved.owner)
    with pytest.raises(ProgrammingError, match="only an operator decides"), transaction.atomic():
        ApprovalRequest.objects.update(outcome="GRANTED", decided_at=market_now())
    assert withdraw_request(unapproved.pk, by=unapproved.owner)
    with connection.cursor() as cursor:
        cursor.execute("RESET ROLE")
    assert outcome_of(unapproved)[0] == "WITHDRAWN"


@pytest.mark.parametrize("change", ["approve", "private", "archive"])
def test_request_ends_with_what_makes_it_pointless(
    unapproved: Feed, operator: User, change: str
) -> None:
    request_approval(unapproved.pk, by=unapproved.owner)
    if change == "approve":
        update_feed(unapproved.pk, by=operator, is_approved=True)
    elif change == "private":
        update_feed(unapproved.pk, by=unapproved.owner, is_public=False)
    else:
        archive_feed(unapproved.pk, by=unapproved.owner)
    assert outcome_of(unapproved)[0] == ("GRANTED" if change == "approve" else "WITHDRAWN")


def test_private_approved_and_archived_feeds_ask_for_nothing(feed: Feed, unapproved: Feed) -> None:
    private = create_feed(owner=feed.owner, name="Own", is_public=False, is_approved=True)
    archive_feed(unapproved.pk)
    for one in (feed, private, unapproved):
        with pytest.raises(ConflictError) as refused:
            request_approval(one.pk, by=one.owner)
        assert refused.value.code == Code.STATE_CONFLICT
    assert not ApprovalRequest.objects.exists()


def test_what_a_change_withdraws_is_stated_and_then_happens(provider: User) -> None:
    private = create_feed(owner=provider, name="Own", is_public=False, is_approved=True)
    waiting = Signal.objects.create(
        feed=private, approval="APPROVED", currency_pair="EUR/USD", direction="BUY"
    )
    assert withdrawn_by(private, {"name": "Other"}) == []
    stated = withdrawn_by(private, {"is_public": True})
    assert stated == [
        "Withdraws your own approval of the feed: its signals then wait for an operator.",
        "Withdraws the approval of 1 signal that is not published yet.",
    ]
    update_feed(private.pk, by=provider, is_public=True)
    private.refresh_from_db()
    waiting.refresh_from_db()
    assert (private.is_approved, waiting.approval) == (False, "PENDING")


def test_terms_keep_their_history(feed: Feed) -> None:
    assert current_terms(feed) is None
    first, is_new = change_terms(feed.pk, "No fee.\r\n", by=feed.owner)
    assert (first.text, is_new) == ("No fee.", True)
    assert change_terms(feed.pk, "No fee.", by=feed.owner) == (first, False)
    change_terms(feed.pk, "20 a month.", by=feed.owner)
    assert [row.text for row in feed.terms.all()] == ["20 a month.", "No fee."]
    for role in ("fillcast_web", "fillcast_trade"):
        with connection.cursor() as cursor:
            cursor.execute(f"SET ROLE {role}")
        with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
            FeedTerms.objects.update(text="other")
        with connection.cursor() as cursor:
            cursor.execute("RESET ROLE")


def test_feed_with_an_arabic_name_of_200_characters_gets_an_address(provider: User) -> None:
    name = "إشارات" * 33 + "اب"
    made = create_feed(owner=provider, name=name, is_public=False)
    assert (len(name), made.name) == (200, name)
    assert made.slug.startswith("feed-")
    with pytest.raises(InvalidInputError) as refused:
        create_feed(owner=provider, name=f"{name}ا")
    assert refused.value.field == "name"


def test_address_of_a_feed_that_the_user_may_not_see_is_taken(provider: User) -> None:
    create_feed(owner=User.objects.create_user("bob"), name="Own", is_public=False)
    with connection.cursor() as cursor:
        cursor.execute("SET ROLE fillcast_web")
    act_as(provider)
    with pytest.raises(InvalidInputError) as refused:
        create_feed(owner=provider, name="Own", is_public=False)
    with connection.cursor() as cursor:
        cursor.execute("RESET ROLE")
    assert (refused.value.field, refused.value.detail) == ("slug", "'own' is taken.")


def test_draft_with_faults_is_kept_and_all_of_them_refuse_its_publication(feed: Feed) -> None:
    draft = draft_of(feed, {"symbol": "EUR/USD", "sl": "1.x", "order_type": "LIMIT"})
    with pytest.raises(InvalidInputError) as refused:
        publish_draft(draft.pk, by=feed.owner)
    assert {one.field for one in field_errors(refused.value)} == {"direction", "sl", "open_price"}
    assert list(open_drafts(feed)) == [draft]
    assert not Signal.objects.exists()


def test_draft_is_published_once(feed: Feed) -> None:
    draft = draft_of(feed)
    signal, is_first = publish_draft(draft.pk, version=1, by=feed.owner)
    assert (is_first, signal.is_published) == (True, True)
    assert publish_draft(draft.pk, version=1, by=feed.owner) == (signal, False)
    assert (Signal.objects.count(), open_drafts(feed).count()) == (1, 0)
    with pytest.raises(ConflictError, match=f"published as {signal.number}"):
        discard_draft(draft.pk, by=feed.owner)


def test_second_draft_with_an_external_id_names_the_signal_of_the_first(feed: Feed) -> None:
    body = ENTRY | {"external_id": "breakout-7"}
    first, second = draft_of(feed, body), draft_of(feed, body)
    signal, _ = publish_draft(first.pk, by=feed.owner)
    for _ in range(2):
        with pytest.raises(ConflictError, match=f"became {signal.number}") as refused:
            publish_draft(second.pk, by=feed.owner)
        assert refused.value.code == Code.DUPLICATE_SIGNAL
    assert list(open_drafts(feed)) == [second]
    changed = store_draft(
        feed.pk, action=Action.OPEN, body=ENTRY | {"external_id": "breakout-8"}, key=second.key,
        version=1, by=feed.owner,
    )  # fmt: skip
    assert publish_draft(changed.pk, by=feed.owner)[0] != signal


def test_draft_of_an_unapproved_feed_waits_for_an_operator(unapproved: Feed) -> None:
    signal, is_first = publish_draft(draft_of(unapproved).pk, by=unapproved.owner)
    assert (is_first, signal.is_published, signal.approval) == (True, False, "PENDING")


def test_same_form_sent_twice_is_one_draft_and_other_words_change_it(feed: Feed) -> None:
    key = uuid4()
    first = draft_of(feed, key=key)
    assert draft_of(feed, key=key) == first
    changed = draft_of(feed, {**ENTRY, "sl": "1.05"}, key=key, version=1)
    assert (changed.pk, changed.version, changed.body["sl"]) == (first.pk, 2, "1.05")


def test_draft_that_another_window_changed_is_neither_changed_nor_published(feed: Feed) -> None:
    draft = draft_of(feed)
    draft_of(feed, {**ENTRY, "sl": "1.05"}, key=draft.key, version=1)
    for act in (
        lambda: draft_of(feed, {**ENTRY, "sl": "1.07"}, key=draft.key, version=1),
        lambda: publish_draft(draft.pk, version=1, by=feed.owner),
    ):
        with pytest.raises(ConflictError, match="changed since this page was shown"):
            act()
    draft.refresh_from_db()
    assert (draft.body["sl"], Signal.objects.count()) == ("1.05", 0)


def test_discarded_draft_is_not_published(feed: Feed) -> None:
    draft = draft_of(feed)
    assert discard_draft(draft.pk, by=feed.owner)
    assert not discard_draft(draft.pk, by=feed.owner)
    with pytest.raises(ConflictError, match="discarded"):
        publish_draft(draft.pk, by=feed.owner)
    assert not Signal.objects.exists()


def test_drafts_of_others_are_refused(feed: Feed) -> None:
    bob = User.objects.create_user("bob")
    draft = draft_of(feed)
    for act in (
        lambda: store_draft(feed.pk, action=Action.OPEN, body=ENTRY, by=bob),
        lambda: publish_draft(draft.pk, by=bob),
        lambda: discard_draft(draft.pk, by=bob),
        lambda: change_terms(feed.pk, "t", by=bob),
        lambda: request_approval(feed.pk, by=bob),
        lambda: publish_draft(draft.pk, by=staff(Role.SUPPORT, name="sue")),
    ):
        with pytest.raises(NotAllowedError):
            act()


@pytest.mark.django_db(transaction=True)
def test_two_tabs_publish_a_draft_once() -> None:
    owner = User.objects.create_user("p")
    feed = Feed.objects.create(slug="race", name="Race", owner=owner, is_approved=True)
    draft = draft_of(feed)
    start, results = threading.Barrier(2), []

    def publish() -> None:
        start.wait()
        results.append(publish_draft(draft.pk, version=1, by=owner)[1])
        connection.close()

    tabs = [threading.Thread(target=publish) for _ in range(2)]
    for tab in tabs:
        tab.start()
    for tab in tabs:
        tab.join()
    assert sorted(results) == [False, True]
    assert Signal.objects.filter(published_at__isnull=False).count() == 1


def test_form_shows_each_fault_beside_its_field(feed: Feed) -> None:
    typed = {
        "key": str(uuid4()), "symbol": "EURUSD", "direction": "BUY", "order_type": "LIMIT",
        "sl": "abc", "target_prices": "1.2, 1.3", "target_fractions": "0.5",
        "risk_category": "normal", "max_slippage": "-1",
    }  # fmt: skip
    form = ActForm(feed, Action.OPEN, data=typed)
    assert form.find_faults()
    assert set(form.errors) == {"open_price", "sl", "target_fractions", "max_slippage"}
    assert form.is_more_open


def test_draft_is_shown_as_it_was_typed(feed: Feed) -> None:
    typed = {
        "key": str(uuid4()), "symbol": "EURUSD", "direction": "SELL", "order_type": "LIMIT",
        "open_price": "1.1o", "target_prices": "1.2, 1.3", "target_fractions": "0.5, 0.5",
        "valid_until": "2099-01-02T10:30", "risk_category": "normal",
    }  # fmt: skip
    body = ActForm(feed, Action.OPEN, data=typed).body()
    assert body["valid_until"] == "2099-01-02T10:30:00+00:00"
    shown = shown_values(body)
    assert {name: shown[name] for name in typed if name != "key"} == {
        name: value for name, value in typed.items() if name != "key"
    }


def test_each_form_has_only_the_fields_of_its_action(feed: Feed) -> None:
    close = set(ActForm(feed, Action.CLOSE).fields)
    modify = set(ActForm(feed, Action.MODIFY).fields)
    assert close == {
        "key", "version", "refers_to", "close_fraction", "valid_until", "strategy_id",
        "trade_plan_id", "note",
    }  # fmt: skip
    assert {"sl", "target_prices", "open_price"} <= modify
    assert not {"order_type", "symbol", "close_fraction", "risk_category"} & modify
