"""No password is hashed while a transaction is open: the database ends transactions that idle."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher
from django.core.management import call_command
from django.db import connection
from django.test import Client

from common.permissions import Role
from portal.views.second_factor import NEW_SECRET
from tests.portal.test_second_factor import enrol_factor, now_step, set_factor_age
from tests.roles import staff
from users.models import SecondFactor, TryCount, User
from users.password_slots import PasswordHashSlots
from users.services import create_operator, create_user
from users.sign_in import one_time_codes, second_factor
from users.sign_in.session_factor import FRESH_SECONDS

pytestmark = pytest.mark.usefixtures("inline_commits")
PASSWORD, NEW = "correct horse battery", "another horse battery"
hashed_inside: list[bool] = []


class WatchedHasher(MD5PasswordHasher):
    """Notes for each password that it hashes whether a transaction is open."""

    def encode(self, password: str, salt: str) -> str:
        hashed_inside.append(connection.in_atomic_block)
        return str(super().encode(password, salt))


@pytest.fixture
def people(settings: Any) -> dict[str, User]:
    settings.PASSWORD_HASHERS = [f"{__name__}.{WatchedHasher.__qualname__}"]
    found = {"boss": staff(Role.ADMINISTRATOR, name="boss"), "alice": User(username="alice")}
    for user in found.values():
        user.set_password(PASSWORD)
        user.save()
    hashed_inside.clear()
    return found


def browser(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def sent_by_console(people: dict[str, User], path: str, **data: str) -> int:
    return int(browser(people["boss"]).post(path, data).status_code)


def add_user(people: dict[str, User]) -> None:
    data = {"username": "new", "password1": NEW, "password2": NEW, "usable_password": "true"}
    assert sent_by_console(people, "/admin/users/user/add/", **data) == 302
    assert User.objects.get(username="new").check_password(NEW)


def set_anothers(people: dict[str, User]) -> None:
    path = f"/admin/users/user/{people['alice'].pk}/password/"
    data = {"password1": NEW, "password2": NEW, "usable_password": "true"}
    assert sent_by_console(people, path, **data) == 302
    assert User.objects.get(username="alice").check_password(NEW)


def change_own(people: dict[str, User]) -> None:
    data = {"old_password": PASSWORD, "new_password1": NEW, "new_password2": NEW}
    assert sent_by_console(people, "/admin/password_change/", **data) == 302
    assert User.objects.get(username="boss").check_password(NEW)


def change_own_in_portal(people: dict[str, User]) -> None:
    data = {"old_password": PASSWORD, "new_password1": NEW, "new_password2": NEW}
    assert browser(people["alice"]).post("/password/", data).status_code == 302
    assert User.objects.get(username="alice").check_password(NEW)


def sign_in(people: dict[str, User]) -> None:
    for name, path in (("alice", "/login/"), ("boss", "/admin/login/"), ("stranger", "/login/")):
        answer = Client().post(path, {"username": name, "password": PASSWORD})
        assert answer.status_code == (200 if name == "stranger" else 302)


def prove_password(people: dict[str, User]) -> None:
    client = browser(people["alice"])
    client.get("/security/enrol/")
    answer = client.post("/security/enrol/", {"code": "000000", "password": PASSWORD})
    assert "not your password" not in answer.content.decode()


def make_operator(people: dict[str, User]) -> None:
    create_operator("olga", PASSWORD, role=Role.ADMINISTRATOR)
    create_user("tenant", PASSWORD, by=people["boss"])
    assert User.objects.get(username="olga").is_superuser


def make_superuser(people: dict[str, User]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DJANGO_SUPERUSER_PASSWORD", PASSWORD)
        call_command("createsuperuser", "--noinput", username="root", email="r@example.org")


WAYS = [
    add_user, set_anothers, change_own, change_own_in_portal, sign_in, prove_password,
    make_operator, make_superuser,
]  # fmt: skip


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("way", WAYS, ids=[way.__name__ for way in WAYS])
def test_password_is_hashed_outside_transactions(
    people: dict[str, User], way: Callable[[dict[str, User]], None]
) -> None:
    way(people)
    assert hashed_inside
    assert not any(hashed_inside), hashed_inside


def test_password_is_not_hashed_without_permission(people: dict[str, User]) -> None:
    path = f"/admin/users/user/{people['boss'].pk}/password/"
    data = {"password1": NEW, "password2": NEW, "usable_password": "true"}
    for client in (browser(people["alice"]), Client(), browser(staff(Role.SUPPORT))):
        hashed_inside.clear()
        assert client.post(path, data).status_code in (302, 403, 404)
        assert hashed_inside == []
    assert User.objects.get(username="boss").check_password(PASSWORD)


def test_guesses_of_current_password_are_counted(people: dict[str, User]) -> None:
    """An open browser alone is no way to find out the password."""
    client, guess = browser(people["boss"]), {"old_password": "x"}
    wrong = {**guess, "new_password1": NEW, "new_password2": NEW}
    answers = [client.post("/admin/password_change/", wrong).status_code for _ in range(11)]
    assert answers == [200] * 10 + [429]
    right = {**wrong, "old_password": PASSWORD}
    refused = client.post("/admin/password_change/", right)
    assert (refused.status_code, refused["Retry-After"].isdigit()) == (429, True)
    assert TryCount.objects.get(scope="present password").tries == 10
    assert User.objects.get(username="boss").check_password(PASSWORD)


OWN_PAGES = pytest.mark.parametrize(
    ("who", "path"), [("alice", "/password/"), ("boss", "/admin/password_change/")]
)
OWN = {"old_password": PASSWORD, "new_password1": NEW, "new_password2": NEW}
WRONG_REPEAT = {**OWN, "new_password2": f"{NEW}!"}
TOO_SHORT = {**OWN, "new_password1": "abc", "new_password2": "abc"}
NONE = {**OWN, "new_password1": "", "new_password2": ""}


@OWN_PAGES
def test_password_is_not_hashed_without_current_password(
    people: dict[str, User], who: str, path: str
) -> None:
    client = browser(people[who])
    without = {"new_password1": NEW, "new_password2": NEW}
    for data in (without, {**without, "old_password": ""}) * 6:
        assert client.post(path, data).status_code in (200, 422)
    assert hashed_inside == []
    assert not TryCount.objects.exists(), "who forgot to type it has not tried anything"


@pytest.mark.django_db(transaction=True)
@OWN_PAGES
def test_rejected_changes_are_counted_and_not_hashed(
    people: dict[str, User], who: str, path: str
) -> None:
    client, page = browser(people[who]), 422 if who == "alice" else 200
    rejected = (WRONG_REPEAT, TOO_SHORT, NONE) * 4
    answers = [client.post(path, typed).status_code for typed in rejected]
    assert answers == [page] * 10 + [429, 429]
    assert hashed_inside == [False] * 10, "the checks of the present one"
    last = client.post(path, OWN)
    html = last.content.decode()
    assert (last.status_code, last["Retry-After"].isdigit()) == (429, True)
    assert "Your password was not changed. Wait 15 minutes" in html
    assert "You stay signed in" in html
    assert client.get("/security/").status_code == 200
    assert User.objects.get(username=who).check_password(PASSWORD)


@OWN_PAGES
def test_successful_change_removes_only_its_own_count(
    people: dict[str, User], who: str, path: str
) -> None:
    client = browser(people[who])
    for _ in range(3):
        client.post(path, WRONG_REPEAT)
    assert client.post(path, OWN).status_code == 302
    assert TryCount.objects.get(scope="present password").tries == 3
    assert User.objects.get(username=who).check_password(NEW)


def test_password_is_not_hashed_before_second_factor(
    people: dict[str, User],
) -> None:
    enrol_factor(people["alice"])
    client = browser(people["alice"])
    set_factor_age(client, people["alice"], FRESH_SECONDS + 1)
    hashed_inside.clear()
    answer = client.post("/password/", OWN)
    assert answer["Location"] == "/security/confirm/?next=%2Fpassword%2F"
    assert (hashed_inside, TryCount.objects.filter(scope="present password").count()) == ([], 0)
    set_factor_age(client, people["alice"], 0)
    assert client.post("/password/", OWN).status_code == 302


def test_password_is_not_hashed_for_tenant_on_console_page(people: dict[str, User]) -> None:
    answer = browser(people["alice"]).post("/admin/password_change/", OWN)
    assert (answer.status_code, hashed_inside) == (302, [])
    assert User.objects.get(username="alice").check_password(PASSWORD)


@pytest.mark.parametrize("page", ["add", "set"])
def test_rejected_password_of_another_user_is_not_hashed(
    people: dict[str, User], page: str
) -> None:
    add, change = "/admin/users/user/add/", f"/admin/users/user/{people['alice'].pk}/password/"
    data = {"username": "new", "password1": NEW, "usable_password": "true"}
    for repeat in ("", f"{NEW}!"):
        path = add if page == "add" else change
        assert sent_by_console(people, path, **data, password2=repeat) == 200
    assert hashed_inside == []


@pytest.mark.django_db(transaction=True)
def test_failed_enrolments_are_counted_before_hashing(
    people: dict[str, User],
) -> None:
    client, page = browser(people["alice"]), "/security/enrol/"
    wrong_code = {"code": "000000", "password": PASSWORD}
    client.post(page, wrong_code)
    assert hashed_inside == [], "no app was shown yet that the code could be of"
    answers = [client.post(page, wrong_code).status_code for _ in range(13)]
    assert answers == [422] * 10 + [429] * 3
    assert hashed_inside == [False] * 10


def test_successful_enrolment_removes_only_its_own_count(people: dict[str, User]) -> None:
    client, page = browser(people["alice"]), "/security/enrol/"
    client.get(page)
    sealed = bytes.fromhex(client.session[NEW_SECRET])
    secret = second_factor.open_secret(people["alice"], sealed)
    assert secret is not None
    for _ in range(2):
        client.post(page, {"code": "000000", "password": PASSWORD})
    right = {"code": one_time_codes.code_at(secret, now_step()), "password": PASSWORD}
    assert "Your recovery codes" in client.post(page, right).content.decode()
    assert SecondFactor.objects.filter(user=people["alice"]).exists()
    assert TryCount.objects.get(scope="enrolment").tries == 2


@pytest.mark.django_db(transaction=True)
def test_attempt_at_full_queue_is_not_counted(
    people: dict[str, User], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "users.sign_in.new_passwords.slots", PasswordHashSlots(slots=1, queue_size=-1)
    )
    answer = browser(people["alice"]).post("/password/", OWN)
    assert (answer.status_code, answer["Retry-After"].isdigit()) == (503, True)
    assert (hashed_inside, TryCount.objects.get().tries) == ([], 0)
