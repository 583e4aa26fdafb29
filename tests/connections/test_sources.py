from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from common.db.sql import rows
from common.errors import ConflictError, InvalidInputError, NotAllowedError
from common.reason_codes import Code
from connections.market_data.sources import (
    can_provide_prices,
    get_or_create_broker_source,
    share_with_all,
)
from connections.models import DataConnection
from connections.services import create_connection, update_connection
from tests.connections import make
from tests.connections.claiming import BLOCKED
from tests.connections.conftest import elsewhere
from tests.until import until

pytestmark = pytest.mark.django_db
BROKER = DataConnection.Kind.BROKER


@pytest.mark.parametrize("kind", ["crypto", "ibkr", "mt4", "mt5", "mt5-dwx"])
def test_real_brokers_provide_prices(kind: str) -> None:
    assert can_provide_prices(kind, "binanceusdm")


def test_paper_broker_is_no_price_source() -> None:
    assert not can_provide_prices("paper")
    with pytest.raises(InvalidInputError):
        get_or_create_broker_source(make.connection())
    assert not DataConnection.objects.filter(kind=BROKER).exists()


def test_account_is_one_source_of_its_owner() -> None:
    account = make.connection(type="mt4", name="x" * 100)
    source = get_or_create_broker_source(account, by=account.user)
    assert (source.kind, source.broker_connection, source.user) == (BROKER, account, account.user)
    assert source.is_active
    DataConnection.objects.filter(pk=source.pk).update(is_active=False)
    again = get_or_create_broker_source(account)
    assert (again.pk, again.is_active) == (source.pk, True)


def test_price_source_of_foreign_account_is_refused() -> None:
    with pytest.raises(NotAllowedError):
        get_or_create_broker_source(make.connection(type="mt4"), by=make.user())


def test_administrators_own_account_may_be_shared_source() -> None:
    admin = make.user(is_staff=True)
    source = get_or_create_broker_source(make.connection(type="mt4", admin=admin))
    mine = DataConnection.objects.filter(pk=source.pk).values_list("user_id", flat=True)
    share_with_all(source, by=admin)
    assert mine.get() is None
    share_with_all(source, by=admin, shared=False)
    assert mine.get() == admin.pk
    with pytest.raises(InvalidInputError, match="administrator's own"):
        share_with_all(get_or_create_broker_source(make.connection(type="mt4")), by=admin)
    with pytest.raises(NotAllowedError):
        share_with_all(source, by=make.user())


@pytest.mark.parametrize("kind", ["replay", "static"])
def test_database_allows_accounts_only_on_broker_sources(kind: str) -> None:
    account = make.connection(type="mt4")
    with pytest.raises(IntegrityError, match="only_broker_source"), transaction.atomic():
        DataConnection.objects.create(name="x", kind=kind, broker_connection=account)


def test_broker_source_without_account_is_off() -> None:
    with pytest.raises(IntegrityError, match="broker_source_has"), transaction.atomic():
        DataConnection.objects.create(name="x", kind=BROKER)
    DataConnection.objects.create(name="x", kind=BROKER, is_active=False)


def test_source_used_by_others_cannot_be_unshared() -> None:
    admin = make.user(is_staff=True)
    source = get_or_create_broker_source(make.connection(type="mt4", admin=admin))
    share_with_all(source, by=admin)
    other = make.connection(data_connection=source)
    with pytest.raises(ConflictError, match="1 of other owners' accounts use these prices"):
        share_with_all(source, by=admin, shared=False)
    update_connection(other.pk, by=other.user, data_connection=None)
    share_with_all(source, by=admin, shared=False)
    assert source.user_id == admin.pk


@pytest.mark.parametrize("owner", ["admin", "user"])
def test_source_used_by_owners_paper_account_cannot_be_unshared(owner: str) -> None:
    admin = make.user(is_staff=True)
    source = get_or_create_broker_source(make.connection(type="mt4", admin=admin))
    share_with_all(source, by=admin)
    who = {"admin": admin} if owner == "admin" else {"owner": admin}
    twin = make.connection(**who, name="Twin", data_connection=source)
    make.connection(**who, type="mt4", data_connection=source)  # may go by it in any case
    with pytest.raises(
        ConflictError, match=r"Paper accounts trade only on shared prices\..* to: Twin\."
    ):
        share_with_all(source, by=admin, shared=False)
    assert DataConnection.objects.get(pk=source.pk).user_id is None
    update_connection(twin.pk, by=admin, data_connection=None)
    share_with_all(source, by=admin, shared=False)
    assert source.user_id == admin.pk


def test_paper_account_does_not_use_private_broker_source() -> None:
    """The paper broker never gets such prices: each order would wait forever."""
    me, admin = make.user(), make.user(is_staff=True)
    own = get_or_create_broker_source(make.connection(me, type="mt4"))
    paper, real = make.connection(me), make.connection(me, type="mt5")
    new: dict[str, Any] = {"name": "new", "type": "paper", "account": "P-9", "data_connection": own}
    acts: list[Callable[[], object]] = [
        lambda: update_connection(paper.pk, by=me, data_connection=own),
        lambda: create_connection(by=me, user=me, **new),
    ]
    for act in acts:
        with pytest.raises(InvalidInputError) as refused:
            act()
        assert (refused.value.code, refused.value.field) == (
            Code.PAPER_NEEDS_SHARED, "data_connection",
        )  # fmt: skip
    assert update_connection(real.pk, by=me, data_connection=own).data_connection == own
    shared = get_or_create_broker_source(make.connection(type="mt4", admin=admin))
    share_with_all(shared, by=admin)
    recorded = DataConnection.objects.create(name="mine", user=me)
    for source in (shared, recorded):
        assert update_connection(paper.pk, by=me, data_connection=source).data_connection == source


def test_unchanged_source_is_not_validated_again() -> None:
    """A source, or a preset, may have become another's since it was chosen."""
    mine = make.connection(data_connection=get_or_create_broker_source(make.connection(type="mt4")))
    assert update_connection(mine.pk, by=mine.user, name="another name").name == "another name"


def _goes_no_further(done: list[object]) -> bool:
    return bool(rows(BLOCKED)) or bool(done)


@pytest.mark.django_db(transaction=True)
def test_concurrent_choice_and_unsharing_refuse_one() -> None:
    admin = make.user(is_staff=True)
    source = get_or_create_broker_source(make.connection(type="mt4", admin=admin))
    share_with_all(source, by=admin)
    other = make.connection(type="mt4")
    seen = DataConnection.objects.get(pk=source.pk)  # it is still for all

    def choose() -> object:
        return update_connection(other.pk, by=other.user, data_connection=seen)

    def take_back() -> None:
        share_with_all(DataConnection.objects.get(pk=source.pk), by=admin, shared=False)

    for first, second, error in (
        (take_back, choose, InvalidInputError), (choose, take_back, ConflictError),
    ):  # fmt: skip
        share_with_all(source, by=admin)
        with ExitStack() as there, transaction.atomic():
            first()
            done = there.enter_context(elsewhere(second))
            until(partial(_goes_no_further, done))
        assert [type(item) for item in done] == [error]


@pytest.mark.django_db(transaction=True)
def test_enabling_source_and_unsharing_are_serialised() -> None:
    admin = make.user(is_staff=True)
    account = make.connection(type="mt4", admin=admin)
    source = get_or_create_broker_source(account)
    share_with_all(source, by=admin)
    DataConnection.objects.filter(pk=source.pk).update(is_active=False)

    def take_back() -> None:
        share_with_all(DataConnection.objects.get(pk=source.pk), by=admin, shared=False)

    with ExitStack() as there, transaction.atomic():  # as `use_own_prices` does
        mine = get_or_create_broker_source(account, by=admin)
        done = there.enter_context(elsewhere(take_back))
        until(partial(_goes_no_further, done))
        update_connection(account.pk, by=admin, data_connection=mine)
    assert done == [None]
    source.refresh_from_db()
    assert (source.is_active, source.user_id) == (True, admin.pk)
