"""Signing up, invitations, forgotten passwords and confirmed addresses, as a visitor sees them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail, signing
from django.test import Client
from django.utils import timezone

from common.db.sql import rows, run
from common.spellings import is_same_address
from tests.html import html_of
from tests.operational import set_setting
from tests.portal.conftest import SignedIn
from tests.portal.factories import PASSWORD, World
from tests.portal.test_second_factor import enrol_factor
from users.mails import account_mails, links
from users.models import AccountMail, Invitation, User
from users.people import forgotten_passwords, invitations, sign_up

pytestmark = pytest.mark.usefixtures("sends")
COMMITS = pytest.mark.django_db(transaction=True)  # so no transaction is open around hashing
NEW_PASSWORD = "a new long passphrase"
ARABIC = "محمد بن عبد الله " * 12  # more than 200 characters
CHOSEN = {
    "username": "zoe", "password1": NEW_PASSWORD, "password2": NEW_PASSWORD, "full_name": "",
    "time_zone": "Asia/Tokyo",
}  # fmt: skip
MAIL = "zoe@example.com"


@pytest.fixture(autouse=True)
def open_with_mail(settings: Any) -> None:
    """Let everybody sign up, with a mail server."""
    set_setting("users.sign_up", "open")
    settings.FILLCAST_PUBLIC_URL = "https://fillcast.example.com"


def send_mails() -> list[Any]:
    """Send what is due as a worker does; return the mails."""
    before = len(mail.outbox)
    with as_owner():
        account_mails.send_due()
    return mail.outbox[before:]


def link_in(text: str) -> str:
    """Return the path of the first link of a mail."""
    found = re.search(r"https://fillcast\.example\.com(\S+)", text)
    assert found
    return found[1]


@contextmanager
def as_owner() -> Iterator[None]:
    """Reach all rows inside this block, as the owner of the tables and workers do."""
    (role,) = rows("SELECT current_user AS name")
    run("RESET ROLE")
    yield
    run(f"SET ROLE {role.name}")


def confirmed(user: User, address: str) -> None:
    with as_owner():
        of_user = User.objects.filter(pk=user.pk)
        assert of_user.update(email=address, email_confirmed_at=timezone.now()) == 1


@COMMITS
def test_visitor_signs_up_by_a_link_and_is_signed_in(world: World, as_web: None) -> None:
    client = Client()
    assert "Create an account" in html_of(client.get("/login/"))
    asked = html_of(client.post("/sign-up/", {"email": MAIL}))
    assert "We send a mail to <bdi>zoe@example.com</bdi>" in asked
    assert not User.objects.filter(email=MAIL).exists(), "no login before the link is opened"
    (sent,) = send_mails()
    assert sent.to == [MAIL]
    link = link_in(sent.body)
    assert "For <bdi>zoe@example.com</bdi>" in html_of(client.get(link))
    done = client.post(link, {**CHOSEN, "full_name": ARABIC})
    assert (done.status_code, done["Location"]) == (302, "/")
    zoe = User.objects.get(username="zoe")
    assert (zoe.email, zoe.time_zone, zoe.full_name) == (MAIL, "Asia/Tokyo", ARABIC.strip())
    assert zoe.email_confirmed_at is not None
    assert (zoe.is_staff, zoe.is_superuser, zoe.groups.count()) == (False, False, 0)
    assert "Welcome, zoe. Your login is ready." in html_of(client.get("/"))
    assert client.get("/accounts/").status_code == 200


def test_used_link_says_so_and_adds_no_one(world: World, as_web: None) -> None:
    link = link_in(links.sign_up_link(MAIL))
    assert Client().post(link, CHOSEN).status_code == 302
    again = Client().post(link, {**CHOSEN, "username": "zoe2"})
    assert again.status_code == 410
    assert "This link was used: your login exists." in html_of(again)
    assert not User.objects.filter(username="zoe2").exists()


def test_late_and_forged_links_offer_a_new_one(
    world: World, as_web: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = link_in(links.sign_up_link(MAIL))
    monkeypatch.setattr(links, "LIFE", timedelta(seconds=-1))
    forged = "/sign-up/" + signing.dumps(MAIL, salt="another") + "/"
    for link in (late, forged, "/sign-up/x/"):
        response = Client().get(link)
        assert response.status_code == 410
        page = html_of(response)
        assert "This link was used before, or it is too old." in page
        assert 'href="/sign-up/"' in page


def test_taken_address_gets_the_same_answer_and_its_owner_a_mail(
    world: World, as_web: None
) -> None:
    confirmed(world.alice, "alice@example.com")
    pages = [
        re.sub(
            r"[\w.]+@example.com|value=\"[^\"]+\"",
            "",
            html_of(Client().post("/sign-up/", {"email": to})),
        )
        for to in ("ALICE@example.com", MAIL)
    ]
    assert pages[0] == pages[1]
    # Both are sent by jobs, in whichever order those are taken.
    to_alice, to_zoe = sorted(send_mails(), key=lambda mail: mail.to)
    assert "You already have a Fillcast login" in to_alice.subject
    assert "your user name is alice" in to_alice.body
    assert "/sign-up/" not in to_alice.body
    assert to_zoe.subject == "Finish your Fillcast login"


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ({"username": "alice"}, "This user name is taken."),
        ({"username": "ALICE"}, "This user name is taken."),
        ({"username": "gateway"}, "This user name is taken."),
        ({"username": "deleted-9"}, "This user name is taken."),
        ({"username": ARABIC.replace(" ", "")}, "at most 150 characters"),
        ({"username": "a b"}, "Enter a valid username."),
        ({"password2": "another"}, "The two passwords are different."),
        ({"password1": "12345678", "password2": "12345678"}, "too common"),
        ({"full_name": "م" * 256}, "at most 255 characters"),
        ({"time_zone": "Mars/Olympus"}, "Select a valid choice."),
    ],
)
def test_refused_form_keeps_what_was_typed_except_passwords(
    world: World, as_web: None, settings: Any, typed: dict[str, str], sentence: str
) -> None:
    set_setting("networks.gateway_owners", [type("Owner", (), {"username": "gateway"})])
    response = Client().post(link_in(links.sign_up_link(MAIL)), {**CHOSEN, **typed})
    page = html_of(response)
    assert response.status_code == 422
    assert sentence in page
    assert {**CHOSEN, **typed}["username"] in page
    assert NEW_PASSWORD not in page
    assert not User.objects.filter(email=MAIL).exists()


@pytest.mark.parametrize("setting", ["off", "invitation"])
def test_sign_up_that_is_not_open_says_how_to_get_in(
    world: World, as_web: None, settings: Any, setting: str
) -> None:
    link = link_in(links.sign_up_link(MAIL))
    assert "Create an account" in html_of(Client().get("/login/"))  # it is open
    set_setting("users.sign_up", setting)
    assert "Create an account" not in html_of(Client().get("/login/"))
    for response in (Client().get("/sign-up/"), Client().post(link, CHOSEN)):
        assert response.status_code == 404
        assert "by invitation or by an administrator" in html_of(response)
    assert not User.objects.filter(username="zoe").exists()


@pytest.mark.parametrize("page", ["/sign-up/", "/forgot-password/"])
def test_page_names_missing_mail_settings_and_stores_nothing(
    world: World, as_web: None, settings: Any, page: str
) -> None:
    settings.FILLCAST_ENV, settings.HAS_PUBLIC_URL = "production", False
    settings.EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
    response = html_of(Client().post(page, {"email": MAIL}))
    assert "<code>FILLCAST_EMAIL_URL</code> and <code>FILLCAST_PUBLIC_URL</code>" in response
    assert "Send me the link" not in response
    assert send_mails() == []


def test_printed_mail_is_called_printed(world: World, as_web: None, settings: Any) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
    assert "is printed in the log of the worker" in html_of(Client().get("/sign-up/"))


@pytest.mark.parametrize("page", ["/sign-up/", "/forgot-password/"])
def test_mails_to_one_inbox_are_limited(world: World, as_web: None, page: str) -> None:
    for number in range(sign_up.MAILS_TO_ONE_ADDRESS + 1):
        client = Client(REMOTE_ADDR=f"198.51.100.{number}")
        response = client.post(page, {"email": MAIL})
    assert response.status_code == 429
    assert "Wait 60 minutes" in html_of(response)
    assert int(response["Retry-After"]) > 3000
    assert len(AccountMail.objects.all()) == 0, "the web process cannot read them"
    with as_owner():
        assert AccountMail.objects.count() == sign_up.MAILS_TO_ONE_ADDRESS


def test_mails_from_one_sender_are_limited(world: World, as_web: None) -> None:
    answers = [
        Client().post("/forgot-password/", {"email": f"{number}@example.com"}).status_code
        for number in range(sign_up.MAILS_FROM_ONE_ADDRESS + 1)
    ]
    assert answers == [200] * sign_up.MAILS_FROM_ONE_ADDRESS + [429]


def test_invitation_works_once_in_two_tabs(world: World, as_web: None, settings: Any) -> None:
    set_setting("users.sign_up", "invitation")
    link = _invite("For Zoe")
    one, other = Client(), Client()
    assert "You are invited" in html_of(one.get(link))
    assert "You are invited" in html_of(other.get(link))
    assert one.post(link, {**CHOSEN, "email": MAIL}).status_code == 302
    second = other.post(link, {**CHOSEN, "username": "zoe2"})
    assert second.status_code == 410
    assert "This invitation was used: it works once." in html_of(second)
    assert not User.objects.filter(username="zoe2").exists()
    zoe = User.objects.get(username="zoe")
    assert (zoe.email, zoe.email_confirmed_at) == (MAIL, None), "not proven yet"
    (sent,) = send_mails()
    assert sent.subject == "Confirm your address"
    confirm = link_in(sent.body)
    assert Client().get(confirm).status_code == 200
    assert User.objects.get(pk=zoe.pk).email_confirmed_at is None, "opening it confirms nothing"
    assert one.post(confirm)["Location"] == "/profile/"
    assert User.objects.get(pk=zoe.pk).email_confirmed_at is not None
    assert "zoe@example.com was confirmed before." in html_of(one.post(confirm, follow=True))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"revoked_at": timezone.now()}, "This invitation was withdrawn."),
        ({"expires_at": timezone.now() - timedelta(minutes=1)}, "This invitation ended on"),
        ({"secret_hash": "another"}, "This invitation does not exist."),
    ],
)
def test_dead_invitation_says_why(
    world: World, as_web: None, change: dict[str, Any], sentence: str
) -> None:
    link = _invite("For Zoe", **change)
    for response in (Client().get(link), Client().post(link, CHOSEN)):
        assert response.status_code == 410
        assert sentence in html_of(response)
        assert "Ask the person who invited you" in html_of(response)
    assert not User.objects.filter(username="zoe").exists()


@COMMITS
def test_forgotten_password_is_replaced_once_and_signs_everybody_out(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    confirmed(world.alice, "alice@example.com")
    elsewhere = signed_in(world.alice)
    assert "Forgot password?" in html_of(Client().get("/login/"))
    Client().post("/forgot-password/", {"email": "Alice@Example.com"})
    (sent,) = send_mails()
    link = link_in(sent.body)
    typed = {"new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD}
    done = Client().post(link, typed, follow=True)
    assert done.redirect_chain == [("/login/", 302)]
    assert "Your password was replaced." in html_of(done)
    assert elsewhere.get("/security/")["Location"].startswith("/login/")
    assert not Client().login(username="alice", password=PASSWORD)
    (notice,) = send_mails()
    assert notice.subject == "Your password was replaced"
    second = Client().post(link, {"new_password1": PASSWORD, "new_password2": PASSWORD})
    assert second.status_code == 410
    assert 'href="/forgot-password/"' in html_of(second)
    assert Client().login(username="alice", password=NEW_PASSWORD)
    run("RESET ROLE")
    (line,) = rows(
        "SELECT after FROM common_trailline WHERE relation = 'users_user' AND row_id = %s"
        " AND operation = 'update' AND after ? 'password'",
        (str(world.alice.pk),),
    )
    assert line.after == {"password": "(secret)"}


def test_reset_does_not_replace_the_second_factor(world: World, as_web: None) -> None:
    confirmed(world.alice, "alice@example.com")
    with as_owner():
        enrol_factor(world.alice)
    link = link_in(links.reset_link(User.objects.get(pk=world.alice.pk)))
    client = Client()
    client.post(link, {"new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD})
    typed = {"username": "alice", "password": NEW_PASSWORD}
    assert client.post("/login/", typed)["Location"] == "/login/code/"
    assert client.get("/accounts/")["Location"].startswith("/login/")


def test_no_mail_goes_to_unknown_unproven_or_deactivated_users(world: World, as_web: None) -> None:
    confirmed(world.nora, "nora@example.com")
    with as_owner():
        User.objects.filter(pk=world.bob.pk).update(email="bob@example.com")
        User.objects.filter(pk=world.nora.pk).update(is_active=False)
    answers = {
        html_of(Client().post("/forgot-password/", {"email": to})).replace(to, "")
        for to in ("unknown@example.com", "bob@example.com", "nora@example.com")
    }
    assert len(answers) == 1
    assert send_mails() == []


def test_weak_password_is_refused_and_the_link_still_works(world: World, as_web: None) -> None:
    confirmed(world.alice, "alice@example.com")
    link = link_in(links.reset_link(User.objects.get(pk=world.alice.pk)))
    response = Client().post(link, {"new_password1": "12345678", "new_password2": "12345678"})
    assert response.status_code == 422
    assert "too common" in html_of(response)
    assert Client().get(link).status_code == 200


def test_mail_that_fails_is_sent_again(
    world: World, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    account_mails.ask_for_mail(AccountMail.Kind.SIGN_UP, MAIL)

    def refuse(*_: Any) -> None:
        raise ConnectionRefusedError

    backend = "django.core.mail.backends.locmem.EmailBackend.send_messages"
    with monkeypatch.context() as patch:
        patch.setattr(backend, refuse)
        before = timezone.now()
        assert account_mails.send_due() == 0
    row = AccountMail.objects.get()
    assert (row.done_at, row.tries) == (None, 1)
    assert row.outcome == "The mail server did not accept it: ConnectionRefusedError."
    assert row.due_at > before + timedelta(seconds=20)
    AccountMail.objects.update(due_at=timezone.now())
    assert account_mails.send_due() == 1
    assert account_mails.send_due() == 0
    assert AccountMail.objects.get().outcome == "Sent."


def _invite(note: str, **change: Any) -> str:
    """Make an invitation as the system; return the path of its link."""
    with as_owner():
        invitation, link = invitations.invite(note, by=None)
        if change:
            Invitation.objects.filter(pk=invitation.pk).update(**change)
    return link_in(link)


@pytest.mark.parametrize(
    ("typed", "is_same"),
    [("Alice@Example.COM", True), ("al\u0131ce@example.com", False),
     ("alice@exampl\u212a.com", False), ("alice@example.co", False)],
)  # fmt: skip
def test_address_that_a_database_takes_for_another_is_another(typed: str, is_same: bool) -> None:
    assert is_same_address("alice@example.com", typed) is is_same


@pytest.mark.parametrize(
    "typed", ["Sam@Example.com", "\u017fam@example.com", "\uff53am@example.com"]
)
def test_reset_link_goes_to_the_stored_address(world: World, as_web: None, typed: str) -> None:
    confirmed(world.alice, "sam@example.com")
    forgotten_passwords.ask_for_reset(typed)
    (sent,) = send_mails()
    assert sent.to == ["sam@example.com"]
    assert "password" in link_in(sent.body)


def test_sign_up_mail_of_a_known_address_goes_to_the_stored_one(world: World, as_web: None) -> None:
    confirmed(world.alice, "sam@example.com")
    sign_up.ask_to_sign_up("\u017fAM@example.com")
    (sent,) = send_mails()
    assert sent.to == ["sam@example.com"]
    assert "You already have" in sent.subject


def test_address_is_stored_in_one_spelling(world: World, as_web: None) -> None:
    sign_up.ask_to_sign_up("\u017fam@Example.com")
    (sent,) = send_mails()
    assert sent.to == ["sam@example.com"]
    assert Client().post(link_in(sent.body), CHOSEN).status_code == 302
    with as_owner():
        assert User.objects.get(username="zoe").email == "sam@example.com"


def test_sign_ups_of_others_do_not_use_up_ones_own_resets(world: World, as_web: None) -> None:
    confirmed(world.alice, "alice@example.com")
    answers = {
        Client().post("/sign-up/", {"email": "alice@example.com"}).status_code for _ in range(6)
    }
    assert answers == {200, 429}
    assert Client().post("/forgot-password/", {"email": "alice@example.com"}).status_code == 200
