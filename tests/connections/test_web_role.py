"""What a tenant does, done by the web process under row-level security."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from django.db import ProgrammingError
from django.db import connection as database
from pytest_django import Settings

from common.clocks import market_now
from common.db.sql import rows
from common.errors import ConflictError, NotAllowedError
from common.permissions import Role
from connections import eligibility, services
from connections.models import (
    ConnectionHealth,
    ExecutionConnection,
    Instrument,
    TradingPreset,
)
from signals.models import Feed
from tests.connections import make
from tests.operational import set_setting
from tests.roles import staff
from users.models import User
from users.tenancy import on_behalf_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def as_web(web: Callable[[], None]) -> Iterator[None]:
    web()
    rows("SET ROLE fillcast_web")
    yield
    database.ensure_connection()
    rows("RESET ROLE")


@pytest.fixture
def people() -> tuple[User, User, Feed]:
    """Alice, Bob, and a public feed of a third user."""
    return make.user("alice"), make.user("bob"), make.feed()


@pytest.fixture
def published(people: tuple[User, User, Feed]) -> None:
    """A signal of the public feed of two days ago: later ones are not named before subscribing."""
    make.signal(people[2], published_at=market_now() - timedelta(days=2))


@pytest.fixture
def without_symbols(people: tuple[User, User, Feed]) -> ExecutionConnection:
    """Alice's account, ready but for the symbols of EUR/USD."""
    account = make.ready(make.connection(people[0], type="mt5"))
    Instrument.objects.update(pair="GBP/USD")
    return account


def account_of(user: User) -> ExecutionConnection:
    return services.create_connection(
        by=user, user=user, name="mine", type="paper", account=user.username,
        credentials={"password": "p"},
    )  # fmt: skip


def test_account_without_a_symbol_of_the_feed_is_refused_to_a_tenant(
    people: tuple[User, User, Feed], published: None, without_symbols: ExecutionConnection,
    as_web: None,
) -> None:  # fmt: skip
    alice, _bob, feed = people
    with on_behalf_of(alice), pytest.raises(ConflictError, match="The feed trades EUR/USD") as e:
        services.subscribe(connection_id=without_symbols.pk, feed_id=feed.pk, by=alice)
    assert e.value.code == "CANNOT_SUBSCRIBE"


def test_tenant_completes_account_lifecycle(people: tuple[User, User, Feed], as_web: None) -> None:
    alice, _bob, feed = people
    with on_behalf_of(alice):
        row = account_of(alice)
        services.update_connection(row.pk, by=alice, preset=TradingPreset.objects.create(
            name="p", user=alice, risk_percent=1))  # fmt: skip
        services.set_credentials(row.pk, by=alice, values={"password": "q"})
        assert services.request_test(row.pk, by=alice)
        with pytest.raises(ConflictError, match="CONNECTION_UNTESTED") as refusal:
            services.subscribe(connection_id=row.pk, feed_id=feed.pk, by=alice)
        assert refusal.value.code == "CANNOT_SUBSCRIBE"
        taken = services.subscribe(connection_id=row.pk, feed_id=feed.pk, by=None)
        assert services.pause_subscription(taken.pk, by=alice)
        assert services.pause(row.pk, by=alice)
        switch = services.set_kill_switch(
            scope="CONNECTION", mode="HALTED", reason="r", by=alice, connection_id=row.pk
        )
        why = eligibility.reason_for(connection_id=row.pk, feed_id=feed.pk, direction="BUY")
        assert why == "TRADING_HALTED"
        assert services.release_kill_switch(switch.pk, by=alice)
        assert services.unsubscribe(taken.pk, by=alice)
        assert services.archive_connection(row.pk, by=alice)


def test_follower_learns_that_the_provider_set_the_halt(
    people: tuple[User, User, Feed], as_web: None
) -> None:
    """The row is seen and cannot be locked: the refusal must come before."""
    alice, _bob, feed = people
    with on_behalf_of(feed.owner):
        switch = services.set_kill_switch(
            scope="FEED", mode="REDUCING", reason="r", by=feed.owner, feed_id=feed.pk
        )
    with on_behalf_of(alice), pytest.raises(NotAllowedError, match="provider set this halt"):
        services.release_kill_switch(switch.pk, by=alice)
    with on_behalf_of(feed.owner):
        assert services.release_kill_switch(switch.pk, by=feed.owner)


def test_other_tenants_rows_are_not_found(people: tuple[User, User, Feed], as_web: None) -> None:
    alice, bob, feed = people
    with on_behalf_of(alice):
        row = account_of(alice)
        taken = services.subscribe(connection_id=row.pk, feed_id=feed.pk, by=None)
    attempts: list[Callable[[], object]] = [
        lambda: services.pause(row.pk, by=None),
        lambda: services.archive_connection(row.pk, by=None),
        lambda: services.unsubscribe(taken.pk, by=None),
        lambda: services.set_kill_switch(
            scope="CONNECTION", mode="HALTED", reason="r", by=None, connection_id=row.pk
        ),
    ]
    for attempt in attempts:
        with pytest.raises(Exception, match="does not exist"), on_behalf_of(bob):
            attempt()
    for anyone in (alice, bob):  # what an account's broker answered is for workers to say
        with pytest.raises(ProgrammingError, match="permission denied"), on_behalf_of(anyone):
            services.mark_errors([(row.pk, "not mine")])
    with on_behalf_of(alice):
        assert ConnectionHealth.objects.get(pk=row.pk).status == "UNTESTED"


@pytest.fixture
def operator() -> User:
    return staff(Role.OPERATOR)


def test_operator_creates_admin_owned_account(operator: User, as_web: None) -> None:
    with on_behalf_of(operator):
        made = services.create_connection(
            by=operator, admin=operator, name="house", type="paper", account="1"
        )
        assert made.is_admin_owned()


def test_accounts_sharing_a_session_share_its_lane(
    people: tuple[User, User, Feed], as_web: None, settings: Settings
) -> None:
    """Whose the other account is, and that there is one, its owner does not see."""
    lanes = []
    for user, many in zip(people[:2], (8, 5), strict=True):
        set_setting("execution.session_lanes", many)
        with on_behalf_of(user):
            row = services.create_connection(
                by=user, user=user, name="mine", type="mt4", account="1",
                settings={"folder": "one", "symbols": ["EURUSD"]},
            )  # fmt: skip
            assert ExecutionConnection.objects.count() == 1
            lanes.append(row.lane)
    assert lanes[0] == lanes[1]
