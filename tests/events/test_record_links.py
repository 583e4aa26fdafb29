"""Webhooks and digests carry the links of feeds' records, which reveal a rewritten record."""

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F

from common.db.sql import rows
from events import services
from events.channel_rules import set_rules
from events.messages.records import record_lines
from events.models import Delivery
from signals.models import Feed, Signal
from signals.records.sql import ANCHORS, LINKS
from tests.events.receiver import Receiver
from tests.events.test_delivery import channel_to, fill, happen
from tests.events.test_messages import event
from tests.signals.test_record_chain import (
    FIRST,
    PRICE,
    RECHAIN,
    as_owner_without_triggers,
    publish,
    verified,
)
from tests.signals.test_services import approved_feed
from users.models import User

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def feed() -> Feed:
    made: Feed = approved_feed()
    publish(made)
    return made


def link_of(signal: Signal) -> str:
    (link,) = rows(f"SELECT number, hash FROM {LINKS} WHERE signal_id = %s", [signal.pk])
    return f"{link.number}:{link.hash}"


def received(alice: User, hook: Receiver, signal: Signal) -> dict[str, Any]:
    """Return what a webhook gets of an order of this signal."""
    channel_to(alice, hook.url())
    happen(fill(alice, signal.pk))
    services.deliver()
    (message,) = hook.journal
    return dict(message["events"][0]["facts"])


def test_webhook_of_an_order_has_the_link_of_its_signal(
    alice: User, hook: Receiver, feed: Feed
) -> None:
    signal = publish(feed)
    publish(feed)
    facts = received(alice, hook, signal)
    assert (facts["record_feed"], facts["record_link"]) == (feed.slug, link_of(signal))
    assert facts["record_link"].startswith("2:")


def test_received_link_reveals_a_record_that_was_rewritten_with_the_key(
    alice: User, hook: Receiver, feed: Feed
) -> None:
    link = received(alice, hook, publish(feed))["record_link"]
    number, only_hash = link.split(":")
    assert verified(feed, "--expect", link, "--head", only_hash)[2] == 0
    with as_owner_without_triggers():
        rows(f"DELETE FROM {ANCHORS}")
        rows(PRICE)
        rows(f"UPDATE signals_signal SET open_price = 1.0845 WHERE id = {FIRST}")
        rows(RECHAIN)
    assert verified(feed)[2] == 0, "the chain alone does not show it"
    sentences, _, code = verified(feed, "--expect", link)
    assert code == 1
    assert f"has another hash of link {number}" in sentences[0]
    sentences, _, code = verified(feed, "--head", only_hash)
    assert code == 1
    assert f"{only_hash}, is of no link" in sentences[0]


def test_digest_states_the_newest_link_of_each_feed(
    alice: User, hook: Receiver, feed: Feed
) -> None:
    first, second = publish(feed), publish(feed)
    channel = channel_to(alice, hook.url())
    set_rules(channel.pk, digest="HOURLY")
    happen(fill(alice, second.pk), fill(alice, first.pk), fill(alice, first.pk))
    services.deliver()
    Delivery.objects.update(hold_until=F("hold_until") - timedelta(hours=1))
    services.deliver()
    (message,) = hook.journal
    assert f"Record of {feed.slug}: {link_of(second)}\n" in message["message"]
    assert link_of(first) not in message["message"]
    assert "Keep this message" in message["message"]


def test_message_that_is_no_digest_states_no_link(alice: User, hook: Receiver, feed: Feed) -> None:
    channel_to(alice, hook.url())
    happen(fill(alice, publish(feed).pk))
    services.deliver()
    assert "Record of" not in hook.journal[0]["message"]


def test_lines_about_many_feeds_are_limited() -> None:
    events = [
        event("order.filled", facts={"record_feed": f"f{n}", "record_link": f"{n}:ab"})
        for n in range(10, 22)
    ]
    lines = record_lines(events)
    assert (len(lines), lines[0], lines[-2]) == (12, "Record of f10: 10:ab", "… and 2 more feeds.")
    assert record_lines([event("order.filled")]) == []
