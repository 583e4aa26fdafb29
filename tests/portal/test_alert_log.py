"""The log of a feed's alerts."""

from django.urls import reverse

from alerts.inbox.publishing import publish_next
from alerts.inbox.storing import accept_alert
from signals.feeds.services import create_feed_token
from signals.models import Feed
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import World


def log_of(feed: Feed) -> str:
    return reverse("portal:feed_alert_log", args=[feed.slug])


def test_provider_sees_what_became_of_each_alert(
    world: World, signed_in: SignedIn, django_assert_max_num_queries: object
) -> None:
    feed, client = world.breakout, signed_in(world.paula)
    assert "No alerts in the last seven days" in html_of(client.get(log_of(feed)))
    token, _ = create_feed_token(feed, "chart")
    accept_alert(feed, b"<script>buy</script>", token=token, address="203.0.113.7")
    accept_alert(feed, b'{"action": "CLOSE", "symbol": "NZDUSD"}')
    assert publish_next()
    accept_alert(feed, b'{"action": "CLOSE", "symbol": "EURUSD"}')
    with django_assert_max_num_queries(12):  # type: ignore[operator]
        response = client.get(log_of(feed))
        html = html_of(response)
    assert "<b>ALERT_NOT_UNDERSTOOD</b>" in html
    assert "&lt;script&gt;buy&lt;/script&gt;" in html
    assert "“chart” from 203.0.113.7" in html
    assert "Nothing to do" in html
    assert "Waits since" in html
    refused = html_of(client.get(log_of(feed), {"state": "REFUSED"}))
    assert "ALERT_NOT_UNDERSTOOD" in refused
    assert "NZDUSD" not in refused


def test_log_of_another_provider_is_not_found(world: World, signed_in: SignedIn) -> None:
    assert signed_in(world.alice).get(log_of(world.breakout)).status_code == 404
