"""A feed's page of alerts: addresses shown once, texts read without publishing, the mapping."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.urls import reverse

from alerts.inbox.addresses import UnknownAddressError
from alerts.inbox.posts import PostedAlert, receive_alert
from alerts.platform_messages import TEMPLATES
from portal.alert_forms import OVERLAPS
from signals.feeds.services import create_feed_token
from signals.models import Feed, FeedToken, Signal
from tests.alerts.charting import templates
from tests.portal.conftest import SignedIn
from tests.portal.factories import World
from tests.portal.factories import feed as make_feed
from users.tenancy import for_all_tenants, on_behalf_of

TEXT = b"BUY EURUSD @ 1.0850 SL 1.0800"


@pytest.fixture
def feed(world: World) -> Feed:
    return make_feed(world.alice, "alice-alerts", "Alice alerts")


def test_text_is_read_field_by_field_and_not_published(
    world: World, signed_in: SignedIn, feed: Feed, as_web: None
) -> None:
    text = "BUY EURUSD @ 1.0850 SL 1.0800 TP1 1.0900 TP2 1.0950 lot 0.1"
    page = signed_in(world.alice).post(reverse("portal:alerts", args=[feed.slug]), {"text": text})
    shown = re.sub(r"\s+", " ", page.content.decode())
    assert page.status_code == 200
    for part in ("EUR/USD", "1.085", "1.09, 50 %", "preset", "text signal", "Opens"):
        assert part in shown
    with for_all_tenants():
        assert not Signal.objects.filter(feed=feed).exists()


def test_refused_text_says_what_to_write_and_is_not_run(
    world: World, signed_in: SignedIn, feed: Feed, as_web: None
) -> None:
    text = "<script>alert(1)</script> BUY EURUSD"
    page = signed_in(world.alice).post(reverse("portal:alerts", args=[feed.slug]), {"text": text})
    assert "ALERT_NOT_UNDERSTOOD" in page.content.decode()
    assert b"<script>alert" not in page.content


def test_address_is_shown_once_and_works(
    world: World, signed_in: SignedIn, feed: Feed, as_web: None
) -> None:
    client = signed_in(world.alice)
    made = client.post(reverse("portal:alert_address_new", args=[feed.slug]), {"name": "charts"})
    secret = re.search(rf"/hooks/tradingview/{feed.slug}/([0-9a-f]+)/", made.content.decode())
    assert secret
    for template in TEMPLATES:  # what to paste is beside where to send it
        assert f'data-copy="message-{template.name}"' in made.content.decode()
    assert 'data-copy="address"' in made.content.decode()
    assert made["Cache-Control"] == "private, no-store"
    listed = client.get(reverse("portal:alerts", args=[feed.slug])).content.decode()
    assert secret[1] not in listed
    assert "charts" in listed
    receipt = receive_alert(PostedAlert(feed.slug, secret[1], TEXT))
    assert receipt.error is None


@pytest.mark.parametrize("hours", [int(value) for value, _ in OVERLAPS])
def test_each_choice_of_an_end_replaces_an_address(
    world: World, signed_in: SignedIn, feed: Feed, as_web: None, hours: int
) -> None:
    client = signed_in(world.alice)
    with on_behalf_of(world.alice):
        old, secret = create_feed_token(feed, "charts")
    address = reverse("portal:alert_address_replace", args=[feed.slug, old.pk])
    begun = datetime.now(UTC)
    made = client.post(address, {"overlap": hours})
    assert made.status_code == 200
    new = re.search(rf"/hooks/tradingview/{feed.slug}/([0-9a-f]+)/", made.content.decode())
    assert new
    old.refresh_from_db()
    if hours:
        assert old.expires_at is not None
        assert old.revoked_at is None
        rest = old.expires_at - begun - timedelta(hours=hours)
        assert timedelta(0) <= rest < timedelta(minutes=5)
        assert receive_alert(PostedAlert(feed.slug, secret, TEXT)).error is None
    else:  # a stranger may know it
        assert old.revoked_at is not None
        with pytest.raises(UnknownAddressError):
            receive_alert(PostedAlert(feed.slug, secret, TEXT))
    assert receive_alert(PostedAlert(feed.slug, new[1], TEXT)).error is None


def test_replaced_address_works_on_until_it_ends(
    world: World, signed_in: SignedIn, feed: Feed, as_web: None
) -> None:
    client = signed_in(world.alice)
    client.post(reverse("portal:alert_address_new", args=[feed.slug]), {"name": "charts"})
    old = FeedToken.objects.get(feed=feed)
    address = reverse("portal:alert_address_replace", args=[feed.slug, old.pk])
    assert client.post(address, {"overlap": "24"}).status_code == 200
    old.refresh_from_db()
    assert old.expires_at is not None
    assert old.revoked_at is None
    assert FeedToken.objects.filter(feed=feed, expires_at=None, name="charts").count() == 1
    client.post(reverse("portal:alert_address_revoke", args=[feed.slug, old.pk]))
    assert FeedToken.objects.get(pk=old.pk).revoked_at is not None
    assert client.post(address, {"overlap": "24"}).status_code == 422


def test_mapping_is_saved_and_its_faults_are_beside_their_fields(
    world: World, signed_in: SignedIn, feed: Feed, as_web: None
) -> None:
    client, address = signed_in(world.alice), reverse("portal:alert_mapping", args=[feed.slug])
    good = {"symbols": "GOLD = XAU/USD", "sides": "compra = BUY", "entry_price": "LIMIT"}
    assert client.post(address, good).status_code == 302
    feed.refresh_from_db()
    assert feed.alert_mapping["symbols"] == {"GOLD": "XAU/USD"}
    assert "GOLD = XAU/USD" in client.get(address).content.decode()
    bad = client.post(address, {**good, "sides": "buy = SELL", "ignore": "do not"})
    assert bad.status_code == 422
    assert "cannot mean SELL" in bad.content.decode()
    assert "can change a signal" in bad.content.decode()


def test_messages_to_paste_are_those_of_the_documentation() -> None:
    documented = templates()
    by_name = {template.name: template.text for template in TEMPLATES}
    for name in ("strategy", "indicator"):
        plain = re.sub(r'"\{\{plot\("(\w+)"\)\}\}"', r'"\1"', by_name[name])
        other = re.sub(r'"\{\{plot\("(\w+)"\)\}\}"', r'"\1"', documented[name])
        assert json.loads(plain) == json.loads(other)
