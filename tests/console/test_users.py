"""Rights cannot be raised in the console by users, groups, passwords or API keys."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client

from common.permissions import Right, Role
from tests.html import html_of
from tests.roles import staff
from users.models import ApiKey, User
from users.privileges import roles_of
from users.services import create_api_key

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery staple"


@pytest.fixture
def people() -> dict[str, User]:
    return {
        "root": User.objects.create_superuser("root"),
        "administrator": staff(Role.ADMINISTRATOR, name="administrator"),
        "operator": staff(Role.OPERATOR, name="operator"),
        "tenant": User.objects.create_user("tenant"),
        "manager": manager(),
    }


def manager() -> User:
    """Create a user who may change users and keys only, by direct permissions, without a role."""
    user = staff(Role.SUPPORT, name="manager")
    names = [Right.USERS.value, Right.API_KEYS.value]
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    return user


def browser(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def send(by: User, user: User, **fields: Any) -> Any:
    """Send the user's form with changed fields, and forged ones."""
    form = {
        "username": user.username, "first_name": "", "last_name": "", "email": user.email,
        "time_zone": user.time_zone, "roles": [role.value for role in roles_of(user)],
        "is_superuser": "on" if user.is_superuser else "", "is_active": "on",
    } | fields  # fmt: skip
    sent = {name: value for name, value in form.items() if value not in ("", None)}
    return browser(by).post(f"/admin/users/user/{user.pk}/change/", sent)


def rights(user: User) -> Any:
    now = User.objects.get(pk=user.pk)
    direct = set(now.user_permissions.values_list("codename", flat=True))
    return now.is_active, now.is_staff, now.is_superuser, roles_of(now), direct, now.password


def all_rights() -> dict[str, Any]:
    """Return forged fields that ask for every right."""
    return {
        "is_superuser": "on", "is_staff": "on", "roles": [role.value for role in Role],
        "groups": list(Group.objects.values_list("pk", flat=True)),
        "user_permissions": list(Permission.objects.values_list("pk", flat=True)),
    }  # fmt: skip


@pytest.mark.parametrize("username", ["administrator", "manager", "root"])
def test_staff_cannot_raise_their_own_rights(people: dict[str, User], username: str) -> None:
    before = rights(people[username])
    send(people[username], people[username], **all_rights())
    send(people[username], people[username], roles=[], is_active="")
    path = f"/admin/users/user/{people[username].pk}/password/"
    sent = {"password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}
    refused = browser(people[username]).post(path, sent)
    assert (refused.status_code, "OWN_RIGHTS" in html_of(refused)) == (403, True)
    assert rights(people[username]) == before


@pytest.mark.parametrize(
    ("username", "target"),
    [("administrator", "root"), ("manager", "root"), ("manager", "administrator"),
     ("manager", "operator")],
)  # fmt: skip
def test_staff_cannot_change_users_with_more_rights(
    people: dict[str, User], username: str, target: str
) -> None:
    by, above = people[username], people[target]
    before, (key, _) = rights(above), create_api_key(above, "k")
    tried: list[dict[str, Any]] = [{"roles": []}, {"is_active": ""}, {"email": "mine@example.com"}]
    for fields in (*tried, all_rights()):
        refused = send(by, above, **fields)
        assert (refused.status_code, "RIGHTS_ABOVE_OWN" in html_of(refused)) == (403, True)
    sent = {"password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}
    assert browser(by).post(f"/admin/users/user/{above.pk}/password/", sent).status_code == 403
    form = {"user": target, "name": "mine", "scopes": ["read"], "life": "90"}
    response = browser(by).post("/admin/users/apikey/create/", form)
    assert "has rights that you do not have" in html_of(response) or "superuser" in str(
        response.content
    )
    browser(by).post(f"/admin/users/apikey/{key.pk}/revoke/")
    assert browser(by).post(f"/admin/users/user/{above.pk}/delete/").status_code == 405
    assert rights(above) == before
    assert User.objects.get(pk=above.pk).email == above.email
    assert list(ApiKey.objects.filter(user=above, revoked_at=None)) == [key]


def test_staff_cannot_give_rights_that_they_do_not_have(people: dict[str, User]) -> None:
    tenant, by = people["tenant"], people["manager"]
    before = rights(tenant)
    for role in (Role.OPERATOR, Role.RISK_OFFICER, Role.ADMINISTRATOR):
        content = html_of(send(by, tenant, roles=[role.value]))
        assert f"The role {role.value} has rights that you do not have" in content
    for username in ("manager", "administrator"):
        send(people[username], tenant, is_superuser="on", is_staff="on")
        direct = list(Permission.objects.values_list("pk", flat=True))
        send(people[username], tenant, user_permissions=direct)
    assert rights(tenant) == before


def test_administrators_give_roles_and_superusers_create_superusers(
    people: dict[str, User],
) -> None:
    tenant = people["tenant"]
    assert send(people["administrator"], tenant, roles=["operator"]).status_code == 302
    assert rights(tenant)[:4] == (True, True, False, {Role.OPERATOR})
    assert send(people["root"], tenant, is_superuser="on").status_code == 302
    assert rights(tenant)[2] is True
    assert send(people["root"], tenant, roles=[], is_superuser="").status_code == 302
    assert rights(tenant)[:4] == (True, False, False, set())
    sent = {"password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}
    path = f"/admin/users/user/{tenant.pk}/password/"
    assert browser(people["administrator"]).post(path, sent).status_code == 302
    assert User.objects.get(pk=tenant.pk).check_password(PASSWORD)


@pytest.mark.parametrize("username", ["administrator", "root"])
def test_groups_cannot_be_edited(people: dict[str, User], username: str) -> None:
    group = Group.objects.get(name=Role.SUPPORT)
    sent = {"name": "support", "permissions": list(Permission.objects.values_list("pk", flat=True))}
    for path, status in ((f"{group.pk}/change", 405), ("add", 403), (f"{group.pk}/delete", 405)):
        refused = browser(people[username]).post(f"/admin/auth/group/{path}/", sent)
        assert refused.status_code == status, path
    assert group.permissions.count() == 1


def test_support_sees_users_and_their_roles(people: dict[str, User]) -> None:
    support = browser(staff(Role.SUPPORT))
    for name in people:
        response = support.get(f"/admin/users/user/{people[name].pk}/change/")
        assert response.status_code == 200
        assert 'name="roles"' not in html_of(response)
    assert "operator" in html_of(support.get("/admin/users/user/"))


def test_operator_cannot_change_users(people: dict[str, User]) -> None:
    tenant = people["tenant"]
    before = rights(tenant)
    refused = send(people["operator"], tenant, **all_rights())
    assert (refused.status_code, "RIGHT_MISSING" in html_of(refused)) == (403, True)
    form = {"user": "tenant", "name": "k", "scopes": ["read"], "life": "90"}
    browser(people["operator"]).post("/admin/users/apikey/create/", form)
    assert rights(tenant) == before
    assert not ApiKey.objects.filter(user=tenant).exists()


def test_new_user_name_is_no_address(people: dict[str, User]) -> None:
    """It could be another user's, who then could not sign in with it."""
    form = {"username": "a@example.com", "password1": PASSWORD, "password2": PASSWORD}
    added = browser(people["root"]).post(
        "/admin/users/user/add/", {**form, "usable_password": "true"}
    )
    assert "A user name has no @" in html_of(added)
    changed = send(people["root"], people["tenant"], username="a@example.com")
    assert "A user name has no @" in html_of(changed)
    User.objects.filter(pk=people["tenant"].pk).update(username="kept@example.com")
    people["tenant"].refresh_from_db()
    assert send(people["root"], people["tenant"], email="t@example.com").status_code == 302
