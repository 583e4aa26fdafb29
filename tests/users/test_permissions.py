"""The table of roles and rights: what the database holds of it, and what `may` answers."""

import pytest
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import Group, Permission

from common.errors import NotAllowedError
from common.permissions import LABEL, RIGHTS, ROLES, Right, Role, Scope, may, require, roles_with
from common.reason_codes import Code
from tests.roles import staff
from tests.statements import sent_statements
from users.models import User

pytestmark = pytest.mark.django_db


def test_database_matches_permission_table() -> None:
    """A change of the table needs a migration."""
    stored = {
        group.name: {
            f"{label}.{name}"
            for label, name in group.permissions.values_list("content_type__app_label", "codename")
        }
        for group in Group.objects.all()
    }
    table = {role.value: {right.codename for right in rights} for role, rights in ROLES.items()}
    assert stored == table
    assert all(right.codename.startswith(f"{LABEL}.") for right in Right)
    assert set(RIGHTS) == set(Right)


@pytest.mark.parametrize("role", Role)
def test_staff_permissions_follow_roles(role: Role) -> None:
    user = staff(role)
    for right in Right:
        assert may(user, right) is (right in ROLES[role])
        assert may(user, right, owner_id=user.pk) is (right in ROLES[role])


def test_roles_add_up_and_no_role_gives_nothing() -> None:
    both = staff(Role.SUPPORT, Role.RISK_OFFICER)
    assert {right for right in Right if may(both, right)} == ROLES[Role.RISK_OFFICER]
    assert not any(may(staff(), right) for right in Right)
    root = User.objects.create_superuser("root")
    assert all(may(root, right) for right in Right)


def test_own_permissions_and_those_of_roles_are_one_statement() -> None:
    user = staff(Role.SUPPORT)
    user.user_permissions.add(Permission.objects.get(codename=Right.PUBLISH.value))
    with sent_statements() as sent:
        allowed = {right for right in Right if may(user, right)}
    assert allowed == {*ROLES[Role.SUPPORT], Right.PUBLISH}
    assert len(sent) == 1, sent
    assert user.get_all_permissions() == ModelBackend().get_all_permissions(
        User.objects.get(pk=user.pk)
    )
    assert not user.get_all_permissions(user)  # of a row: it has none of its own
    user.is_active = False
    assert not user.get_all_permissions()


def test_owner_permissions_apply_to_own_rows() -> None:
    alice, bob = User.objects.create_user("alice"), User.objects.create_user("bob")
    alice.groups.add(Group.objects.get(name=Role.OPERATOR))  # without being staff: no role
    for right in Right:
        assert may(alice, right, owner_id=alice.pk) is RIGHTS[right].owners
        assert not may(alice, right, owner_id=bob.pk)
        assert not may(alice, right)


def test_deactivated_user_has_no_permission() -> None:
    gone = staff(Role.ADMINISTRATOR, is_active=False)
    assert not any(may(gone, right) for right in Right)


def test_api_key_allows_only_its_scopes() -> None:
    user = staff(Role.OPERATOR)
    user.key_scopes = frozenset({Scope.READ, Scope.TRADE})
    allowed = {right for right in Right if may(user, right)}
    assert allowed == {Right.READ, Right.TRADE, Right.RETRY, Right.RECONCILE}


def test_refusal_names_permission_and_its_roles() -> None:
    with pytest.raises(NotAllowedError) as refused:
        require(staff(Role.SUPPORT), Right.PUBLISH)
    assert refused.value.code == Code.RIGHT_MISSING
    assert refused.value.detail == (
        "You may not write, publish and cancel signals: that needs the role administrator or"
        " operator. An administrator gives roles, in the console under Access."
    )
    assert refused.value.numbers == {
        "right": "publish_signals", "roles": "administrator, operator"
    }  # fmt: skip
    require(None, Right.PUBLISH)  # the system itself


def test_administrator_has_every_permission() -> None:
    """Otherwise no user could grant a role that has it."""
    assert all(Role.ADMINISTRATOR in roles_with(right) for right in Right)
