"""Other keys of an account, by its connection test, its readings and the double: whose are they?"""

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
from tests.crypto.api_keys import (
    OTHERS,
    as_before_the_upgrade,
    enter,
    failed_checks,
    forbid_identity,
    house,
    identity,
    open_something,
    read,
    row,
    status,
)
from tests.crypto.factories import VenueSetup, allow

__all__ = ["house", "row"]
pytestmark = pytest.mark.django_db(transaction=True)


def test_who_was_there_before_the_upgrade_is_known_with_the_next_reading(
    row: ExecutionConnection, house: VenueSetup
) -> None:
    as_before_the_upgrade(row)
    open_something(row)
    assert read(row, house) == (1, 0)
    assert identity(row) == "1001 swap"
    (check,) = enter(row, house, OTHERS)
    assert Code.ACCOUNT_MISMATCH.sentence in check.detail
    assert (identity(row), status(row)) == ("1001 swap", "ERROR")


def test_before_that_reading_no_other_key_is_taken_while_something_is_open(
    row: ExecutionConnection, house: VenueSetup
) -> None:
    as_before_the_upgrade(row)
    open_something(row)
    with pytest.raises(ConflictError, match="Test the connection with the present key first"):
        enter(row, house, OTHERS)
    assert failed_checks(row, house) == []
    assert identity(row) == "1001 swap"
    (check,) = enter(row, house, OTHERS)
    assert check.name == "owner"


def test_where_the_present_key_is_refused_another_is_taken(
    row: ExecutionConnection, house: VenueSetup
) -> None:
    """Nothing can be learnt of a key that was revoked: its owner must not be shut out."""
    as_before_the_upgrade(row)
    open_something(row)
    house.venue.key, house.server.accounts = "key-new", {"key-new": house.venue}
    read(row, house)
    assert status(row) == "ERROR"
    assert enter(row, house, "key-new") == []
    assert identity(row) == "1001 swap"


def test_what_a_reading_tells_counts_for_the_key_that_it_was_made_with(
    row: ExecutionConnection, house: VenueSetup
) -> None:
    as_before_the_upgrade(row)
    account = house.adapter.account

    async def entered_meanwhile(spec: Any) -> Any:
        told = await account(spec)
        mine = ExecutionConnection.objects.filter(pk=row.pk)
        with elsewhere(lambda: mine.update(sealed_credentials=b"other")) as done:
            pass
        assert done == [1]
        return told

    house.adapter.account = entered_meanwhile  # type: ignore[method-assign]
    assert read(row, house) == (1, 0)
    assert identity(row) == ""


def test_a_new_key_that_may_not_say_whose_it_is_waits_until_nothing_is_open(
    row: ExecutionConnection, house: VenueSetup
) -> None:
    open_something(row)
    forbid_identity(house)
    house.server.accounts["key-new"] = house.venue
    house.venue.key = "key-new"
    (check,) = enter(row, house, "key-new")
    assert "not allowed to read which account it belongs to" in check.detail
    assert "Allow the key to read" in check.hint
    assert (identity(row), status(row)) == ("1001 swap", "ERROR")
    ExecutionPosition.objects.update(quantity=0, closed_at=market_now())
    assert failed_checks(row, house) == []
    assert identity(row) == ""
    assert read(row, house) == (1, 0)
    assert status(row) == "ACTIVE"


def test_an_exit_needs_no_spot_where_the_very_key_was_tested(
    row: ExecutionConnection, house: VenueSetup
) -> None:
    """In a process that has never spoken to the account."""
    row.refresh_from_db()
    spec = spec_for(row)
    assert spec.is_identity_sure
    forbid_identity(house)
    adapter = house.another()
    assert house.run(adapter.submit(spec, house.order(), allow))
    leaving = house.order(side=Side.SELL, reduce_only=True)
    assert house.run(adapter.submit(spec, leaving, allow))
    assert read(row, house) == (1, 0)
    assert failed_checks(row, house) == []  # the key that told it once
    assert identity(row) == "1001 swap"
    house.run(adapter.disconnect())


def test_a_key_that_was_sealed_anew_is_asked_once_more(
    row: ExecutionConnection, house: VenueSetup
) -> None:
    row.refresh_from_db()
    row.set_credentials(house.spec.credentials)
    assert not spec_for(row).is_identity_sure
    assert read(row, house) == (1, 0)
    row.refresh_from_db()
    assert spec_for(row).is_identity_sure


def test_another_accounts_key_is_no_sure_one_before_its_test(
    row: ExecutionConnection, house: VenueSetup
) -> None:
    set_credentials(row.pk, by=row.user, values={**house.spec.credentials, "api_key": OTHERS})
    row.refresh_from_db()
    spec = spec_for(row)
    with pytest.raises(ReadFailed) as failed:
        house.run(house.adapter.positions(spec))
    assert failed.value.code is Code.ACCOUNT_MISMATCH
    with pytest.raises(NotSent):
        house.run(house.adapter.submit(spec, house.order(), allow))


def test_whose_key_it_is_is_asked_with_the_rank_of_the_exit_that_needs_it(
    house: VenueSetup,
) -> None:
    """Polls that have taken all of what reads may take do not hold it up."""
    spec = replace(house.spec, identity="1001 swap")
    house.warm()
    assert house.submit(house.order())  # without a question: nothing is known
    client = house.run(house.adapter._clients.of(spec))
    assert client.identity is None
    client.budgets.reads.back_off(60)
    leaving = house.order(side=Side.SELL, reduce_only=True)
    assert house.run(house.adapter.submit(spec, leaving, allow))
