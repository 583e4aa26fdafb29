"""A key or an account that is entered twice is traded by one connection only."""

from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from common.sealing import new_private_key, public_key_of
from connections.account_settings.validation import read_settings
from connections.accounts import ownership
from connections.credentials.key_rotation import reseal_all
from connections.models import ConnectionHealth, ExecutionConnection
from connections.selectors import due_tests, spec_for
from connections.services import mark_active, set_credentials
from tests.crypto.engine.api_keys import (
    OTHER_KEY,
    account,
    clear_identity,
    connection,
    enter_key,
    failed_checks,
    forbid_identity,
    poll,
    second_connection,
    status,
)
from tests.crypto.factories import ExchangeAccount

__all__ = ["account", "connection"]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("is_resealed", [False, True])
def test_account_claim_survives_when_key_may_no_longer_read_identity(
    connection: ExecutionConnection, account: ExchangeAccount, settings: Any, is_resealed: bool
) -> None:
    if is_resealed:  # sealed with another of our keys; the exchange's key is the same
        private = new_private_key()
        settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(private)
        settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS += (private,)
        (*_, result) = reseal_all()
        assert result.resealed == 1
        connection.refresh_from_db()
        assert spec_for(connection).is_identity_sure
    forbid_identity(account)
    account.adapter = account.new_adapter()
    assert failed_checks(connection, account) == []
    account.venue.may_read_spot = True
    account.adapter = account.new_adapter()
    (check,) = enter_key(second_connection(account), account, account.venue.key)
    assert check.name == "owner"
    assert status(connection) == "ACTIVE"


def test_same_key_is_refused_twice_when_identity_is_unreadable(account: ExchangeAccount) -> None:
    forbid_identity(account)
    first, second = (
        second_connection(account),
        second_connection(account, "second", update_interval_seconds=5),
    )
    assert enter_key(first, account, account.venue.key) == []
    values = {**account.spec.credentials, "api_key": account.venue.key, "password": "not used"}
    set_credentials(second.pk, by=second.user, values=values)
    (check,) = failed_checks(second, account)
    assert check.name == "owner"
    assert (status(first), status(second)) == ("ACTIVE", "ERROR")
    assert enter_key(second, account, OTHER_KEY) == []


@pytest.mark.parametrize("identity_readable_first", [True, False])
def test_same_key_is_refused_twice_when_identity_is_readable_once(
    account: ExchangeAccount, identity_readable_first: bool
) -> None:
    account.venue.may_read_spot = identity_readable_first
    first, second = second_connection(account), second_connection(account, "second")
    assert enter_key(first, account, account.venue.key) == []
    account.venue.may_read_spot = not identity_readable_first
    account.adapter = account.new_adapter()
    (check,) = enter_key(second, account, account.venue.key)
    assert check.name == "owner"
    assert (status(first), status(second)) == ("ACTIVE", "ERROR")


@pytest.mark.parametrize(
    ("changes", "values"),
    [({"currency": "usdt"}, {}), ({}, {"api_key": "{} "})],
    ids=["currency", "key"],
)
def test_same_key_in_another_spelling_is_refused(
    account: ExchangeAccount, changes: dict[str, str], values: dict[str, str]
) -> None:
    forbid_identity(account)
    assert enter_key(second_connection(account), account, account.venue.key) == []
    second = second_connection(account, "second")
    stored = read_settings("crypto", {**account.spec.settings, **changes})
    ExecutionConnection.objects.filter(pk=second.pk).update(settings=stored)
    credentials = account.spec.credentials
    respelled = {name: spelling.format(credentials[name]) for name, spelling in values.items()}
    set_credentials(second.pk, by=second.user, values={**credentials, **respelled})
    (check,) = failed_checks(second, account)
    assert check.name == "owner"


def test_spot_and_perpetuals_of_one_key_have_separate_claims(
    connection: ExecutionConnection, account: ExchangeAccount
) -> None:
    spot = second_connection(account, "spot", market="spot", symbols=["BTC/USDT"])
    usdc = second_connection(account, "usdc", currency="USDC")
    for other in (spot, usdc):
        set_credentials(other.pk, by=other.user, values=account.spec.credentials)
        other.refresh_from_db()
    connection.refresh_from_db()
    assert ownership._credentials_claim(spot) != connection.credentials_claim
    # Both read the same balances as positions, whatever their currency.
    assert ownership._credentials_claim(usdc) == connection.credentials_claim


def test_unidentified_key_without_claim_gets_one_by_automatic_test(
    account: ExchangeAccount,
) -> None:
    forbid_identity(account)
    first = second_connection(account)
    assert enter_key(first, account, account.venue.key) == []
    ExecutionConnection.objects.filter(pk=first.pk).update(credentials_claim="")
    assert poll(first, account) == (1, 0)
    assert (due_tests(5), status(first)) == ([first.pk], "ACTIVE")
    assert failed_checks(first, account) == []
    assert poll(first, account) == (1, 0)
    assert due_tests(5) == [], "tested again"
    (check,) = enter_key(second_connection(account, "second"), account, account.venue.key)
    assert check.name == "owner"


@pytest.mark.parametrize("has_identity", [False, True], ids=["no identity", "identity"])
def test_connection_without_claim_gets_one_by_automatic_test(
    connection: ExecutionConnection, account: ExchangeAccount, has_identity: bool
) -> None:
    """It stays active throughout, whether its identity was stored or not."""
    if not has_identity:
        clear_identity(connection)
    ExecutionConnection.objects.filter(pk=connection.pk).update(claim="")
    assert due_tests(5) == []
    assert poll(connection, account) == (1, 0)
    assert (due_tests(5), status(connection)) == ([connection.pk], "ACTIVE")
    assert failed_checks(connection, account) == []
    assert poll(connection, account) == (1, 0)
    assert due_tests(5) == []
    (check,) = enter_key(second_connection(account), account, account.venue.key)
    assert check.name == "owner"


def test_only_one_of_two_connections_of_one_account_stays_active(
    connection: ExecutionConnection, account: ExchangeAccount
) -> None:
    other = second_connection(account)
    ExecutionConnection.objects.filter(pk=connection.pk).update(claim="", credentials_claim="")
    assert enter_key(other, account, account.venue.key) == []
    ExecutionConnection.objects.update(claim="", credentials_claim="")
    assert poll(connection, account) == (2, 0)
    for connection_id in due_tests(5):
        failed_checks(ExecutionConnection.objects.get(pk=connection_id), account)
    assert sorted([status(connection), status(other)]) == ["ACTIVE", "ERROR"]
    mark_active([connection.pk, other.pk])
    assert sorted([status(connection), status(other)]) == ["ACTIVE", "ERROR"], (
        "reactivated without a test"
    )


def test_failed_automatic_test_is_repeated_after_a_day(
    connection: ExecutionConnection, account: ExchangeAccount
) -> None:
    """A symbol that was delisted must not put the connection in error every half hour."""
    gone = {**connection.settings, "symbols": [*account.spec.settings["symbols"], "GONE/USDT:USDT"]}
    ExecutionConnection.objects.filter(pk=connection.pk).update(
        claim="", credentials_claim="", settings=gone
    )
    assert poll(connection, account) == (1, 0)
    assert due_tests(5) == [connection.pk]
    assert failed_checks(connection, account) != []
    state = ConnectionHealth.objects.filter(pk=connection.pk)
    state.update(read_after=None)  # half an hour later
    assert poll(connection, account) == (1, 0)
    assert due_tests(5) == []
    state.update(last_tested_at=Now() - timedelta(days=1, minutes=1))
    assert poll(connection, account) == (1, 0)
    assert due_tests(5) == [connection.pk]


def test_failed_test_supersedes_no_other_claim(account: ExchangeAccount) -> None:
    """Two connections hold the account: the first claim no longer counts, the second does."""
    by_identity, by_key, third = (
        second_connection(account),
        second_connection(account, "second"),
        second_connection(account, "third"),
    )
    assert enter_key(by_identity, account, account.venue.key) == []
    ExecutionConnection.objects.filter(pk=by_identity.pk).update(credentials_claim="")
    ConnectionHealth.objects.filter(pk=by_identity.pk).update(status="ERROR")  # refused since then
    forbid_identity(account)
    account.adapter = account.new_adapter()
    assert enter_key(by_key, account, account.venue.key) == []
    account.venue.may_read_spot = True
    account.adapter = account.new_adapter()
    (check,) = enter_key(third, account, account.venue.key)
    assert check.name == "owner"
    by_identity.refresh_from_db()
    assert by_identity.claim != ""
