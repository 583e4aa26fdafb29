"""One key, or one account, that is entered twice: it is traded once."""

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
from tests.crypto.api_keys import (
    OTHERS,
    as_before_the_upgrade,
    enter,
    failed_checks,
    forbid_identity,
    house,
    read,
    row,
    second_connection,
    status,
)
from tests.crypto.factories import VenueSetup

__all__ = ["house", "row"]
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("is_sealed_anew", [False, True])
def test_a_key_that_told_it_once_holds_its_account_though_it_may_not_say_so_any_more(
    row: ExecutionConnection, house: VenueSetup, settings: Any, is_sealed_anew: bool
) -> None:
    if is_sealed_anew:  # for another of our own keys: the exchange's key is the same
        private = new_private_key()
        settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(private)
        settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS += (private,)
        (*_, done) = reseal_all()
        assert done.resealed == 1
        row.refresh_from_db()
        assert spec_for(row).is_identity_sure
    forbid_identity(house)
    house.adapter = house.another()
    assert failed_checks(row, house) == []
    house.venue.may_read_spot = True
    house.adapter = house.another()
    (check,) = enter(second_connection(house), house, house.venue.key)
    assert check.name == "owner"
    assert status(row) == "ACTIVE"


def test_one_key_is_traded_once_though_nobody_tells_whose_it_is(house: VenueSetup) -> None:
    forbid_identity(house)
    first, second = (
        second_connection(house),
        second_connection(house, "second", update_interval_seconds=5),
    )
    assert enter(first, house, house.venue.key) == []
    values = {**house.spec.credentials, "api_key": house.venue.key, "password": "nobody reads it"}
    set_credentials(second.pk, by=second.user, values=values)
    (check,) = failed_checks(second, house)
    assert check.name == "owner"
    assert (status(first), status(second)) == ("ACTIVE", "ERROR")
    assert enter(second, house, OTHERS) == []


@pytest.mark.parametrize("speaks_first", [True, False])
def test_one_key_is_traded_once_whether_it_says_whose_it_is_or_not(
    house: VenueSetup, speaks_first: bool
) -> None:
    house.venue.may_read_spot = speaks_first
    first, second = second_connection(house), second_connection(house, "second")
    assert enter(first, house, house.venue.key) == []
    house.venue.may_read_spot = not speaks_first
    house.adapter = house.another()
    (check,) = enter(second, house, house.venue.key)
    assert check.name == "owner"
    assert (status(first), status(second)) == ("ACTIVE", "ERROR")


@pytest.mark.parametrize(
    ("said", "values"),
    [({"currency": "usdt"}, {}), ({}, {"api_key": "{} "})],
    ids=["currency", "key"],
)
def test_one_key_that_is_written_otherwise_is_the_same_one(
    house: VenueSetup, said: dict[str, str], values: dict[str, str]
) -> None:
    forbid_identity(house)
    assert enter(second_connection(house), house, house.venue.key) == []
    second = second_connection(house, "second")
    kept = read_settings("crypto", {**house.spec.settings, **said})
    ExecutionConnection.objects.filter(pk=second.pk).update(settings=kept)
    known = house.spec.credentials
    written = {name: form.format(known[name]) for name, form in values.items()}
    set_credentials(second.pk, by=second.user, values={**known, **written})
    (check,) = failed_checks(second, house)
    assert check.name == "owner"


def test_one_key_is_of_spot_and_of_perpetuals(row: ExecutionConnection, house: VenueSetup) -> None:
    spot = second_connection(house, "spot", market="spot", symbols=["BTC/USDT"])
    usdc = second_connection(house, "usdc", currency="USDC")
    for one in (spot, usdc):
        set_credentials(one.pk, by=one.user, values=house.spec.credentials)
        one.refresh_from_db()
    row.refresh_from_db()
    assert ownership._credentials_claim(spot) != row.credentials_claim
    assert (
        ownership._credentials_claim(usdc) == row.credentials_claim
    )  # its balances would be both's positions


def test_a_silent_key_from_before_the_upgrade_gets_its_claim_by_itself(house: VenueSetup) -> None:
    forbid_identity(house)
    first = second_connection(house)
    assert enter(first, house, house.venue.key) == []
    ExecutionConnection.objects.filter(pk=first.pk).update(credentials_claim="")
    assert read(first, house) == (1, 0)
    assert (due_tests(5), status(first)) == ([first.pk], "ACTIVE")
    assert failed_checks(first, house) == []
    assert read(first, house) == (1, 0)
    assert due_tests(5) == [], "once is enough"
    (check,) = enter(second_connection(house, "second"), house, house.venue.key)
    assert check.name == "owner"


@pytest.mark.parametrize("was_heard", [False, True], ids=["of nobody", "heard before claims"])
def test_who_was_there_before_the_upgrade_gets_its_claim_by_itself(
    row: ExecutionConnection, house: VenueSetup, was_heard: bool
) -> None:
    """Its identity was read once or not; it trades all the while."""
    if not was_heard:
        as_before_the_upgrade(row)
    ExecutionConnection.objects.filter(pk=row.pk).update(claim="")
    assert due_tests(5) == []
    assert read(row, house) == (1, 0)
    assert (due_tests(5), status(row)) == ([row.pk], "ACTIVE")
    assert failed_checks(row, house) == []
    assert read(row, house) == (1, 0)
    assert due_tests(5) == []
    (check,) = enter(second_connection(house), house, house.venue.key)
    assert check.name == "owner"


def test_of_two_that_traded_one_account_before_the_upgrade_one_is_left(
    row: ExecutionConnection, house: VenueSetup
) -> None:
    other = second_connection(house)
    ExecutionConnection.objects.filter(pk=row.pk).update(claim="", credentials_claim="")
    assert enter(other, house, house.venue.key) == []
    ExecutionConnection.objects.update(claim="", credentials_claim="")
    assert read(row, house) == (2, 0)
    for one in due_tests(5):
        failed_checks(ExecutionConnection.objects.get(pk=one), house)
    assert sorted([status(row), status(other)]) == ["ACTIVE", "ERROR"]
    mark_active([row.pk, other.pk])
    assert sorted([status(row), status(other)]) == ["ACTIVE", "ERROR"], "by no mere answer"


def test_a_test_that_is_made_by_itself_and_fails_is_not_made_again_at_once(
    row: ExecutionConnection, house: VenueSetup
) -> None:
    """One of its symbols was delisted before the upgrade: that is no reason to be in error each
    half hour."""
    gone = {**row.settings, "symbols": [*house.spec.settings["symbols"], "GONE/USDT:USDT"]}
    ExecutionConnection.objects.filter(pk=row.pk).update(
        claim="", credentials_claim="", settings=gone
    )
    assert read(row, house) == (1, 0)
    assert due_tests(5) == [row.pk]
    assert failed_checks(row, house) != []
    state = ConnectionHealth.objects.filter(pk=row.pk)
    state.update(read_after=None)  # half an hour later
    assert read(row, house) == (1, 0)
    assert due_tests(5) == []
    state.update(last_tested_at=Now() - timedelta(days=1, minutes=1))
    assert read(row, house) == (1, 0)
    assert due_tests(5) == [row.pk]


def test_nobody_gives_way_to_a_test_that_fails(house: VenueSetup) -> None:
    """Of two holders the first one's word counts no more, and the second one's does."""
    by_number, by_key, third = (
        second_connection(house),
        second_connection(house, "second"),
        second_connection(house, "third"),
    )
    assert enter(by_number, house, house.venue.key) == []
    ExecutionConnection.objects.filter(pk=by_number.pk).update(credentials_claim="")
    ConnectionHealth.objects.filter(pk=by_number.pk).update(status="ERROR")  # refused since
    forbid_identity(house)
    house.adapter = house.another()
    assert enter(by_key, house, house.venue.key) == []
    house.venue.may_read_spot = True
    house.adapter = house.another()
    (check,) = enter(third, house, house.venue.key)
    assert check.name == "owner"
    by_number.refresh_from_db()
    assert by_number.claim != ""
