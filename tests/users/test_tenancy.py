from collections.abc import Callable, Iterator

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import AnonymousUser
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory

from common.db.sql import rows
from connections.models import ExecutionConnection, TradingPreset
from tests.users import world
from users import services
from users.middleware import TenantMiddleware
from users.models import ApiKey, User
from users.tenancy import act_as, acting_for, for_all_tenants, on_behalf_of

pytestmark = pytest.mark.django_db(transaction=True)
PASSWORD = "correct horse battery"


@pytest.fixture
def as_web() -> Iterator[None]:
    """This very process works as the web process does."""
    rows("SET ROLE fillcast_web")
    yield
    connection.ensure_connection()
    rows("RESET ROLE")


def my_connections() -> int:
    return ExecutionConnection.objects.count()


def test_the_tenant_ends_with_the_transaction(
    alice: world.Tenant, bob: world.Tenant, as_web: None
) -> None:
    with transaction.atomic():
        act_as(alice.user)
        assert (acting_for(), my_connections()) == (alice.user.pk, 1)
    assert (acting_for(), my_connections()) == (None, 0)


def test_tenant_cannot_be_set_outside_a_transaction(alice: world.Tenant) -> None:
    with pytest.raises(transaction.TransactionManagementError):
        act_as(alice.user)
    with pytest.raises(transaction.TransactionManagementError), for_all_tenants():
        pass


def test_absent_anonymous_and_deactivated_users_reach_nothing(
    alice: world.Tenant, as_web: None
) -> None:
    with transaction.atomic():
        act_as(alice.user)
        for user in (None, AnonymousUser(), User(pk=alice.user.pk, is_active=False)):
            act_as(user)
            assert my_connections() == 0
            act_as(alice.user)


def test_operator_reaches_all_until_deactivated(
    alice: world.Tenant, bob: world.Tenant, as_web: None
) -> None:
    with transaction.atomic():
        operator = User(pk=99, is_staff=True, is_superuser=True)
        act_as(operator)
        assert my_connections() == 2
        act_as(User(pk=99, is_staff=True))  # without a role
        assert my_connections() == 0
        operator.is_active = False
        act_as(operator)
        assert my_connections() == 0


def test_all_tenants_access_is_a_context_manager(
    alice: world.Tenant, bob: world.Tenant, as_web: None
) -> None:
    with transaction.atomic():
        act_as(alice.user)
        with for_all_tenants():
            assert my_connections() == 2
        assert my_connections() == 1
        with pytest.raises(ZeroDivisionError), for_all_tenants():
            raise ZeroDivisionError
        assert (acting_for(), my_connections()) == (alice.user.pk, 1)
        with on_behalf_of(bob.user):
            assert ExecutionConnection.objects.get() == bob.connection
        assert ExecutionConnection.objects.get() == alice.connection


def test_error_without_a_savepoint_ends_the_block_around_it_and_the_access(
    alice: world.Tenant, bob: world.Tenant, as_web: None
) -> None:
    with transaction.atomic():
        act_as(alice.user)
        with for_all_tenants(savepoint=False):
            assert my_connections() == 2
        assert (acting_for(), my_connections()) == (alice.user.pk, 1)
        with transaction.atomic():
            with pytest.raises(ZeroDivisionError), for_all_tenants(savepoint=False):
                raise ZeroDivisionError
            with pytest.raises(transaction.TransactionManagementError):
                my_connections()
        assert (acting_for(), my_connections()) == (alice.user.pk, 1)


def test_api_key_is_found_before_its_user_is_known(alice: world.Tenant, as_web: None) -> None:
    with on_behalf_of(alice.user):
        _key, secret = services.create_api_key(alice.user, "robot")
    with transaction.atomic():
        assert services.user_for_key(secret) == alice.user
        assert ApiKey.objects.count() == 0, "the look-up must not leave rows readable"


def respond(status: int, work: Callable[[], object]) -> Callable[[HttpRequest], HttpResponse]:
    def view(_request: HttpRequest) -> HttpResponse:
        work()
        return HttpResponse(status=status)

    return view


def request_of(user: User | AnonymousUser, path: str = "/") -> HttpRequest:
    request = RequestFactory().get(path)
    request.user = user
    return request


@pytest.mark.parametrize(("status", "kept"), [(200, 1), (302, 1), (404, 1), (500, 0), (503, 0)])
def test_failed_request_is_rolled_back(
    alice: world.Tenant, as_web: None, status: int, kept: int
) -> None:
    def work() -> None:
        assert acting_for() == alice.user.pk
        TradingPreset.objects.create(name="new", user=alice.user, risk_percent=1)

    TenantMiddleware(respond(status, work))(request_of(alice.user))
    with on_behalf_of(alice.user):
        assert TradingPreset.objects.filter(name="new").count() == kept
    assert acting_for() is None


def test_anonymous_requests_see_nothing(alice: world.Tenant, as_web: None) -> None:
    seen: list[int] = []
    TenantMiddleware(respond(200, lambda: seen.append(my_connections())))(
        request_of(AnonymousUser())
    )
    assert seen == [0]


def test_health_pages_open_no_transaction() -> None:
    seen: list[bool] = []
    view = respond(200, lambda: seen.append(connection.in_atomic_block))
    TenantMiddleware(view)(request_of(AnonymousUser(), "/healthz"))
    assert seen == [False]


def test_login_time_is_written_by_web_process(
    alice: world.Tenant, as_web: None, client: Client
) -> None:
    """The request began anonymous, and an anonymous request may not write to this row."""
    client.force_login(alice.user)
    assert User.objects.get(pk=alice.user.pk).last_login is not None


def test_outdated_hash_is_renewed_as_the_user(alice: world.Tenant, as_web: None) -> None:
    old = PBKDF2PasswordHasher().encode(PASSWORD, "saltsaltsaltsaltsaltsalt", iterations=1)
    with on_behalf_of(alice.user):
        User.objects.filter(pk=alice.user.pk).update(password=old)
    user = User.objects.get(pk=alice.user.pk)
    assert user.check_password(PASSWORD)
    assert User.objects.get(pk=alice.user.pk).password != old
