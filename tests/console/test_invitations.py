"""Operators invite people, see what became of it, and take an invitation back."""

import re

import pytest
from django.test import Client

from common.models import TrailLine
from common.permissions import Role
from tests.html import html_of
from tests.operational import set_setting
from tests.roles import staff
from users.models import Invitation
from users.people.invitations import find_invitation, why_unusable

pytestmark = pytest.mark.django_db


@pytest.fixture
def browser() -> Client:
    """Return the browser of an administrator."""
    client = Client()
    client.force_login(staff(Role.ADMINISTRATOR))
    return client


def invite(browser: Client) -> str:
    """Make an invitation; return the secret of its link."""
    page = html_of(
        browser.post("/admin/users/invitation/create/", {"note": "Zoe of Acme", "days": "3"})
    )
    found = re.search(r"/invitation/([\w-]{32})/", page)
    assert found, page
    return found[1]


def test_link_is_shown_once_and_only_its_hash_is_stored(browser: Client) -> None:
    secret = invite(browser)
    row = Invitation.objects.get()
    assert find_invitation(secret) == row
    assert secret not in row.secret_hash
    assert (row.expires_at - row.created_at).days in (2, 3)
    listed = html_of(browser.get("/admin/users/invitation/"))
    assert "Zoe of Acme" in listed
    assert "Open" in listed
    assert secret not in listed
    line = TrailLine.objects.get(relation="users_invitation")
    assert line.after is not None
    assert line.after["secret_hash"] == "(secret)"


def test_revoked_invitation_stays_revoked_and_listed(browser: Client) -> None:
    secret = invite(browser)
    row = Invitation.objects.get()
    page = f"/admin/users/invitation/{row.pk}/revoke/"
    assert "Its link stops working." in html_of(browser.get(page))
    done = html_of(browser.post(page, follow=True))
    assert "“Zoe of Acme” is revoked." in done
    assert why_unusable(find_invitation(secret)) == "This invitation was withdrawn."
    assert "It was already revoked." in html_of(browser.post(page, follow=True))


def test_no_one_is_invited_where_sign_up_is_off(browser: Client, settings: object) -> None:
    set_setting("users.sign_up", "off")
    form = {"note": "Zoe", "days": "3"}
    page = html_of(browser.post("/admin/users/invitation/create/", form))
    assert "does not let people sign up" in page
    assert not Invitation.objects.exists()
