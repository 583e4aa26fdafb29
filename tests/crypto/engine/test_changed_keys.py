"""An owner replaces the API key of a connection: is it of the same account?"""

from dataclasses import replace
from typing import Any

import pytest

from brokers.base import NotSent, ReadFailed
from brokers.types import Side
from common.clocks import market_now
from common.errors import ConflictError
from common.reason_codes import Code
from connections.models import ExecutionConnection
from connections.selectors import spec_for
from connections.services import set_credentials
from positions.models import ExecutionPosition
from tests.connections.conftest import elsewhere
from tests.crypto.engine.api_keys import (
    OTHER_KEY,
    account,
    clear_identity,
    connection,
    enter_key,
    failed_checks,
    forbid_identity,
    identity,
    open_position,
    poll,
    status,
)
from tests.crypto.factories import ExchangeAccount, allow

__all__ = ["account", "connection"]
pytestmark = pytest.mark.django_db(transaction=True)


def test_missing_identity_is_stored_by_next_poll(
    connection: ExecutionConnection, account: ExchangeAccount
) -> None:
    clear_identity(connection)
    open_position(connection)
    assert poll(connection, account) == (1, 0)
    assert identity(connection) == "1001 swap"
    (check,) = enter_key(connection, account, OTHER_KEY)
    assert Code.ACCOUNT_MISMATCH.sentence in check.detail
    assert (identity(connection), status(connection)) == ("1001 swap", "ERROR")


def test_new_key_is_refused_while_identity_is_missing_and_position_open(
    connection: ExecutionConnection, account: ExchangeAccount
) -> None:
    clear_identity(connection)
    open_position(connection)
    with pytest.raises(ConflictError, match="Test the connection with the present key first"):
        enter_key(connection, account, OTHER_KEY)
    assert failed_checks(connection, account) == []
    assert identity(connection) == "1001 swap"
    (check,) = enter_key(connection, account, OTHER_KEY)
    assert check.name == "owner"


def test_new_key_is_accepted_when_present_key_is_refused(
    connection: ExecutionConnection, account: ExchangeAccount
) -> None:
    """The identity of a revoked key cannot be read. Its owner must not be locked out."""
    clear_identity(connection)
    open_position(connection)
    account.venue.key, account.server.accounts = "key-new", {"key-new": account.venue}
    poll(connection, account)
    assert status(connection) == "ERROR"
    assert enter_key(connection, account, "key-new") == []
    assert identity(connection) == "1001 swap"


def test_identity_read_with_replaced_key_is_not_stored(
    connection: ExecutionConnection, account: ExchangeAccount
) -> None:
    clear_identity(connection)
    read_account = account.adapter.account

    async def replace_key_meanwhile(spec: Any) -> Any:
        state = await read_account(spec)
        stored = ExecutionConnection.objects.filter(pk=connection.pk)
        with elsewhere(lambda: stored.update(sealed_credentials=b"other")) as updated:
            pass
        assert updated == [1]
        return state

    account.adapter.account = replace_key_meanwhile  # type: ignore[method-assign]
    assert poll(connection, account) == (1, 0)
    assert identity(connection) == ""


def test_new_key_without_identity_is_refused_while_position_is_open(
    connection: ExecutionConnection, account: ExchangeAccount
) -> None:
    open_position(connection)
    forbid_identity(account)
    account.server.accounts["key-new"] = account.venue
    account.venue.key = "key-new"
    (check,) = enter_key(connection, account, "key-new")
    assert "not allowed to read which account it belongs to" in check.detail
    assert "Allow the key to read" in check.hint
    assert (identity(connection), status(connection)) == ("1001 swap", "ERROR")
    ExecutionPosition.objects.update(quantity=0, closed_at=market_now())
    assert failed_checks(connection, account) == []
    assert identity(connection) == ""
    assert poll(connection, account) == (1, 0)
    assert status(connection) == "ACTIVE"


def test_exit_needs_no_identity_request_with_tested_key(
    connection: ExecutionConnection, account: ExchangeAccount
) -> None:
    """Also in a process that has made no request for the account before."""
    connection.refresh_from_db()
    spec = spec_for(connection)
    assert spec.is_identity_sure
    forbid_identity(account)
    adapter = account.new_adapter()
    assert account.run(adapter.submit(spec, account.order(), allow))
    exit_order = account.order(side=Side.SELL, reduce_only=True)
    assert account.run(adapter.submit(spec, exit_order, allow))
    assert poll(connection, account) == (1, 0)
    assert failed_checks(connection, account) == []  # its identity was read once with this key
    assert identity(connection) == "1001 swap"
    account.run(adapter.disconnect())


def test_identity_is_read_again_after_credentials_are_stored_again(
    connection: ExecutionConnection, account: ExchangeAccount
) -> None:
    connection.refresh_from_db()
    connection.set_credentials(account.spec.credentials)
    assert not spec_for(connection).is_identity_sure
    assert poll(connection, account) == (1, 0)
    connection.refresh_from_db()
    assert spec_for(connection).is_identity_sure


def test_untested_key_of_another_account_neither_reads_nor_trades(
    connection: ExecutionConnection, account: ExchangeAccount
) -> None:
    set_credentials(
        connection.pk, by=connection.user, values={**account.spec.credentials, "api_key": OTHER_KEY}
    )
    connection.refresh_from_db()
    spec = spec_for(connection)
    with pytest.raises(ReadFailed) as failed:
        account.run(account.adapter.positions(spec))
    assert failed.value.code is Code.ACCOUNT_MISMATCH
    with pytest.raises(NotSent):
        account.run(account.adapter.submit(spec, account.order(), allow))


def test_identity_request_for_an_exit_goes_before_polls(account: ExchangeAccount) -> None:
    """Polls that used up the rate limit for reads do not delay it."""
    spec = replace(account.spec, identity="1001 swap")
    account.load_markets()
    assert account.submit(account.order())  # makes no identity request: none is stored
    client = account.run(account.adapter._clients.get(spec))
    assert client.identity is None
    client.rate_limits.reads.back_off(60)
    exit_order = account.order(side=Side.SELL, reduce_only=True)
    assert account.run(account.adapter.submit(spec, exit_order, allow))
