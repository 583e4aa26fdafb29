"""Deleting one's own login: shown first, refused while money is at risk, history kept."""

import pytest
from django.core import mail
from django.db import transaction
from django.test import Client
from django.utils import timezone

from alerts.models import TelegramBot
from common.db.sql import rows
from common.errors import ConflictError
from connections.accounts import login_deletion
from connections.models import ExecutionConnection, Subscription
from connections.services import delete_login, items_of_login
from execution.models import Order
from signals.models import Feed
from tests.connections import make
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import PASSWORD, World
from tests.portal.test_sign_up import as_owner, confirmed, send_mails
from users.models import LoginSession, User
from users.services import create_api_key, user_for_key

pytestmark = pytest.mark.usefixtures("sends")
PAGE = "/security/delete/"


def test_money_at_risk_refuses_it_and_says_what_to_do(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    client = signed_in(world.alice)
    page = html_of(client.get(PAGE))
    assert "This must end first" in page
    assert "Still open in Main MT5" in page
    assert "Delete my login" not in page
    refused = client.post(PAGE, {"password": PASSWORD})
    assert refused.status_code == 422
    with as_owner():
        assert User.objects.get(pk=world.alice.pk).is_active
        assert not ExecutionConnection.objects.filter(
            user=world.alice, archived_at__isnull=False
        ).exists()


@pytest.mark.django_db(transaction=True)
def test_login_without_risk_is_deleted_and_history_stays(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    confirmed(world.nora, "nora@example.com")
    with as_owner():
        account = make.connection(world.nora, name="Nora's")
        subscription = make.subscription(account, world.breakout)
        feed = Feed.objects.create(owner=world.nora, slug="noras", name="Nora's feed")
        TelegramBot.objects.create(feed=feed, bot_id=7, token_sealed=b"sealed")
        _, secret = create_api_key(world.nora, "report")
    client, elsewhere = signed_in(world.nora), signed_in(world.nora)
    page = html_of(client.get(PAGE))
    for part in ("1 account", "1 subscription", "1 feed", "1 API key", f"deleted-{world.nora.pk}"):
        assert part in page
    assert client.post(PAGE, {"password": "wrong"}).status_code == 422
    done = html_of(client.post(PAGE, {"password": PASSWORD}))
    assert "Your login is deleted" in done
    with as_owner():
        nora = User.objects.get(pk=world.nora.pk)
        account.refresh_from_db()
        subscription.refresh_from_db()
        feed.refresh_from_db()
        assert not LoginSession.objects.filter(user_id=nora.pk).exists()
        assert not TelegramBot.objects.filter(feed=feed).exists()
    assert (nora.username, nora.email, nora.is_active) == (f"deleted-{nora.pk}", "", False)
    assert not nora.has_usable_password()
    assert None not in (account.archived_at, subscription.archived_at, feed.archived_at)
    assert account.sealed_credentials is None
    assert elsewhere.get("/accounts/")["Location"].startswith("/login/")
    assert user_for_key(secret) is None
    assert not Client().login(username="nora", password=PASSWORD)
    (notice,) = send_mails()
    assert (notice.to, notice.subject) == (["nora@example.com"], "Your Fillcast login was deleted")
    with as_owner():
        (line,) = rows(
            "SELECT after, user_id FROM common_trailline WHERE relation = 'users_user'"
            " AND row_id = %s AND after ->> 'is_active' = 'false'",
            (str(nora.pk),),
        )
    assert line.user_id == nora.pk
    assert len(mail.outbox) == 1


def test_provider_with_followers_keeps_the_login(world: World) -> None:
    (item,) = [item for item in items_of_login(world.paula) if item.is_at_risk]
    assert "follow your feeds" in item.text
    with pytest.raises(Exception, match="follow your feeds"):
        delete_login(world.paula)
    assert User.objects.get(pk=world.paula.pk).is_active
    assert not Subscription.objects.filter(
        feed__owner=world.paula, archived_at__lt=timezone.now()
    ).exists()
    assert Order.objects.exists()


def test_provider_who_archived_the_feeds_deletes_the_login(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    """Followers who did not unsubscribe get nothing more of an archived feed."""
    client = signed_in(world.paula)
    page = html_of(client.get(PAGE))
    assert "then archive the feeds in their settings" in page
    assert 'href="/publishing/">Go there' in page
    for feed in (world.breakout, world.carry):
        assert client.post(f"/publishing/{feed.slug}/archive/").status_code == 302
    with as_owner():
        assert Subscription.objects.filter(feed__owner=world.paula, archived_at=None).exists()
    assert "follow your feeds" not in html_of(client.get(PAGE))
    assert "Your login is deleted" in html_of(client.post(PAGE, {"password": PASSWORD}))
    with as_owner():
        assert not User.objects.get(pk=world.paula.pk).is_active


def test_follower_of_the_last_moment_keeps_the_feeds(world: World) -> None:
    """Who subscribed between the question and the archiving is seen under the feeds' locks."""
    with transaction.atomic(), pytest.raises(ConflictError, match="follow your feeds"):
        login_deletion._archive_feeds(world.paula)
    assert not Feed.objects.filter(owner=world.paula, archived_at__isnull=False).exists()


def test_staff_are_sent_to_an_administrator(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    client = signed_in(world.olga)
    assert "ask an administrator to deactivate your user" in html_of(client.get(PAGE))
    assert client.post(PAGE, {"password": PASSWORD}).status_code == 422
    with as_owner():
        assert User.objects.get(pk=world.olga.pk).is_active
