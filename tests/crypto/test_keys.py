"""Other keys of an account, by its connection test, its readings and the double: whose are they?"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from brokers.base import NotSent, ReadFailed
from brokers.messages import Check, CheckResult, Side
from common.clocks import market_now
from common.codes import Code
from common.errors import ConflictError
from common.sealing import new_private_key, public_key_of
from connections import claims, polling
from connections.account_settings import read_settings
from connections.models import ConnectionHealth, ExecutionConnection
from connections.rotation import reseal_all
from connections.selectors import due_tests, spec_for
from connections.services import mark_active, set_credentials
from connections.testing import run_test
from positions.models import ExecutionPosition
from tests.connections import make
from tests.connections.conftest import elsewhere
from tests.crypto.cast import D, House, close, house_of, nothing_against
from tests.doubles.exchange.server import Server
from tests.doubles.exchange.venue import Venue

pytestmark = pytest.mark.django_db(transaction=True)
OTHERS = "key-other"


@pytest.fixture
def house(settings: Any) -> Iterator[House]:
    """Binance's futures: whose the key is, is told by spot's account alone."""
    private = new_private_key()
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(private)
    settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS = (private,)
    one = house_of("binance", swap=True)
    mine = one.venue
    other = Venue(mine.markets, mine.prices, {"USDT": D(100)}, key=OTHERS, uid="2002",
                  derivatives=True, unique=mine.unique)  # fmt: skip
    one.server.stop()
    one.server = Server(type(one.server._dialect), mine, other)
    one.adapter = one.another()
    yield one
    close(one)


@pytest.fixture
def row(house: House) -> ExecutionConnection:
    """An account whose test has passed."""
    made = make.connection(
        type="crypto", account="main", exchange_name="binance", settings=house.spec.settings,
        sealed_credentials=None,
    )  # fmt: skip
    assert enter(made, house, house.venue.key) == []
    return made


def look(row: ExecutionConnection, house: House) -> list[Check]:
    """What fails of its connection test."""
    checks = run_test(row.pk, run=house.run, adapter=lambda _: house.adapter)
    return [one for one in checks if one.result is CheckResult.FAIL]


def enter(row: ExecutionConnection, house: House, key: str) -> list[Check]:
    """The owner enters a key; its test is made."""
    set_credentials(row.pk, by=row.user, values={**house.spec.credentials, "api_key": key})
    return look(row, house)


def read(row: ExecutionConnection, house: House) -> tuple[int, int]:
    """Its account is read, as each minute."""
    return polling.refresh_due_accounts(
        older_than_seconds=0, run=house.run, adapter=lambda _: house.adapter
    )


def identity(row: ExecutionConnection) -> str:
    row.refresh_from_db()
    return row.identity


def status(row: ExecutionConnection) -> str:
    return ConnectionHealth.objects.get(pk=row.pk).status


def as_before_the_upgrade(row: ExecutionConnection) -> None:
    ExecutionConnection.objects.filter(pk=row.pk).update(identity="", identity_of="")


def open_something(row: ExecutionConnection) -> None:
    one = D(1)
    ExecutionPosition.objects.create(
        connection=row, signal=make.signal(make.feed()), pair="BTC/USDT",
        symbol="BTC/USDT:USDT", side="BUY", quantity=one, opened_quantity=one, entry_price=one,
        pip=one, conversion_rate=one, opened_at=market_now(),
    )  # fmt: skip


def may_not_say(house: House) -> None:
    house.venue.may_read_spot = False


def test_who_was_there_before_the_upgrade_is_known_with_the_next_reading(
    row: ExecutionConnection, house: House
) -> None:
    as_before_the_upgrade(row)
    open_something(row)
    assert read(row, house) == (1, 0)
    assert identity(row) == "1001 swap"
    (check,) = enter(row, house, OTHERS)
    assert Code.OTHER_ACCOUNT.sentence in check.detail
    assert (identity(row), status(row)) == ("1001 swap", "ERROR")


def test_before_that_reading_no_other_key_is_taken_while_something_is_open(
    row: ExecutionConnection, house: House
) -> None:
    as_before_the_upgrade(row)
    open_something(row)
    with pytest.raises(ConflictError, match="Test the connection with the present key first"):
        enter(row, house, OTHERS)
    assert look(row, house) == []
    assert identity(row) == "1001 swap"
    (check,) = enter(row, house, OTHERS)
    assert check.name == "owner"


def test_where_the_present_key_is_refused_another_is_taken(
    row: ExecutionConnection, house: House
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
    row: ExecutionConnection, house: House
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
    row: ExecutionConnection, house: House
) -> None:
    open_something(row)
    may_not_say(house)
    house.server.accounts["key-new"] = house.venue
    house.venue.key = "key-new"
    (check,) = enter(row, house, "key-new")
    assert "may not say whose account it is" in check.detail
    assert "Allow the key to read" in check.hint
    assert (identity(row), status(row)) == ("1001 swap", "ERROR")
    ExecutionPosition.objects.update(quantity=0, closed_at=market_now())
    assert look(row, house) == []
    assert identity(row) == ""
    assert read(row, house) == (1, 0)
    assert status(row) == "ACTIVE"


def test_an_exit_needs_no_spot_where_the_very_key_was_tested(
    row: ExecutionConnection, house: House
) -> None:
    """In a process that has never spoken to the account."""
    row.refresh_from_db()
    spec = spec_for(row)
    assert spec.is_identity_sure
    may_not_say(house)
    adapter = house.another()
    assert house.run(adapter.submit(spec, house.order(), nothing_against))
    leaving = house.order(side=Side.SELL, reduce_only=True)
    assert house.run(adapter.submit(spec, leaving, nothing_against))
    assert read(row, house) == (1, 0)
    assert look(row, house) == []  # the key that told it once
    assert identity(row) == "1001 swap"
    house.run(adapter.disconnect())


def again(house: House, name: str = "again", **said: Any) -> ExecutionConnection:
    """A second connection, to be of the same account."""
    return make.connection(
        type="crypto", account=name, exchange_name="binance",
        settings={**house.spec.settings, **said}, sealed_credentials=None,
    )  # fmt: skip


@pytest.mark.parametrize("is_sealed_anew", [False, True])
def test_a_key_that_told_it_once_holds_its_account_though_it_may_not_say_so_any_more(
    row: ExecutionConnection, house: House, settings: Any, is_sealed_anew: bool
) -> None:
    if is_sealed_anew:  # for another of our own keys: the exchange's key is the same
        private = new_private_key()
        settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = public_key_of(private)
        settings.FILLCAST_CREDENTIALS_PRIVATE_KEYS += (private,)
        (*_, done) = reseal_all()
        assert done.resealed == 1
        row.refresh_from_db()
        assert spec_for(row).is_identity_sure
    may_not_say(house)
    house.adapter = house.another()
    assert look(row, house) == []
    house.venue.may_read_spot = True
    house.adapter = house.another()
    (check,) = enter(again(house), house, house.venue.key)
    assert check.name == "owner"
    assert status(row) == "ACTIVE"


def test_one_key_is_traded_once_though_nobody_tells_whose_it_is(house: House) -> None:
    may_not_say(house)
    first, second = again(house), again(house, "second", update_interval_seconds=5)
    assert enter(first, house, house.venue.key) == []
    values = {**house.spec.credentials, "api_key": house.venue.key, "password": "nobody reads it"}
    set_credentials(second.pk, by=second.user, values=values)
    (check,) = look(second, house)
    assert check.name == "owner"
    assert (status(first), status(second)) == ("ACTIVE", "ERROR")
    assert enter(second, house, OTHERS) == []


@pytest.mark.parametrize("speaks_first", [True, False])
def test_one_key_is_traded_once_whether_it_says_whose_it_is_or_not(
    house: House, speaks_first: bool
) -> None:
    house.venue.may_read_spot = speaks_first
    first, second = again(house), again(house, "second")
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
    house: House, said: dict[str, str], values: dict[str, str]
) -> None:
    may_not_say(house)
    assert enter(again(house), house, house.venue.key) == []
    second = again(house, "second")
    kept = read_settings("crypto", {**house.spec.settings, **said})
    ExecutionConnection.objects.filter(pk=second.pk).update(settings=kept)
    known = house.spec.credentials
    written = {name: form.format(known[name]) for name, form in values.items()}
    set_credentials(second.pk, by=second.user, values={**known, **written})
    (check,) = look(second, house)
    assert check.name == "owner"


def test_one_key_is_of_spot_and_of_perpetuals(row: ExecutionConnection, house: House) -> None:
    spot = again(house, "spot", market="spot", symbols=["BTC/USDT"])
    usdc = again(house, "usdc", currency="USDC")
    for one in (spot, usdc):
        set_credentials(one.pk, by=one.user, values=house.spec.credentials)
        one.refresh_from_db()
    row.refresh_from_db()
    assert claims._key_of(spot) != row.key_claim
    assert claims._key_of(usdc) == row.key_claim  # its balances would be both's positions


def test_a_silent_key_from_before_the_upgrade_gets_its_claim_by_itself(house: House) -> None:
    may_not_say(house)
    first = again(house)
    assert enter(first, house, house.venue.key) == []
    ExecutionConnection.objects.filter(pk=first.pk).update(key_claim="")
    assert read(first, house) == (1, 0)
    assert (due_tests(5), status(first)) == ([first.pk], "ACTIVE")
    assert look(first, house) == []
    assert read(first, house) == (1, 0)
    assert due_tests(5) == [], "once is enough"
    (check,) = enter(again(house, "second"), house, house.venue.key)
    assert check.name == "owner"


@pytest.mark.parametrize("was_heard", [False, True], ids=["of nobody", "heard before claims"])
def test_who_was_there_before_the_upgrade_gets_its_claim_by_itself(
    row: ExecutionConnection, house: House, was_heard: bool
) -> None:
    """Its identity was read once or not; it trades all the while."""
    if not was_heard:
        as_before_the_upgrade(row)
    ExecutionConnection.objects.filter(pk=row.pk).update(claim="")
    assert due_tests(5) == []
    assert read(row, house) == (1, 0)
    assert (due_tests(5), status(row)) == ([row.pk], "ACTIVE")
    assert look(row, house) == []
    assert read(row, house) == (1, 0)
    assert due_tests(5) == []
    (check,) = enter(again(house), house, house.venue.key)
    assert check.name == "owner"


def test_of_two_that_traded_one_account_before_the_upgrade_one_is_left(
    row: ExecutionConnection, house: House
) -> None:
    other = again(house)
    ExecutionConnection.objects.filter(pk=row.pk).update(claim="", key_claim="")
    assert enter(other, house, house.venue.key) == []
    ExecutionConnection.objects.update(claim="", key_claim="")
    assert read(row, house) == (2, 0)
    for one in due_tests(5):
        look(ExecutionConnection.objects.get(pk=one), house)
    assert sorted([status(row), status(other)]) == ["ACTIVE", "ERROR"]
    mark_active([row.pk, other.pk])
    assert sorted([status(row), status(other)]) == ["ACTIVE", "ERROR"], "by no mere answer"


def test_a_test_that_is_made_by_itself_and_fails_is_not_made_again_at_once(
    row: ExecutionConnection, house: House
) -> None:
    """One of its symbols was delisted before the upgrade: that is no reason to be in error each
    half hour."""
    gone = {**row.settings, "symbols": [*house.spec.settings["symbols"], "GONE/USDT:USDT"]}
    ExecutionConnection.objects.filter(pk=row.pk).update(claim="", key_claim="", settings=gone)
    assert read(row, house) == (1, 0)
    assert due_tests(5) == [row.pk]
    assert look(row, house) != []
    state = ConnectionHealth.objects.filter(pk=row.pk)
    state.update(read_after=None)  # half an hour later
    assert read(row, house) == (1, 0)
    assert due_tests(5) == []
    state.update(last_tested_at=Now() - timedelta(days=1, minutes=1))
    assert read(row, house) == (1, 0)
    assert due_tests(5) == [row.pk]


def test_nobody_gives_way_to_a_test_that_fails(house: House) -> None:
    """Of two holders the first one's word counts no more, and the second one's does."""
    by_number, by_key, third = again(house), again(house, "second"), again(house, "third")
    assert enter(by_number, house, house.venue.key) == []
    ExecutionConnection.objects.filter(pk=by_number.pk).update(key_claim="")
    ConnectionHealth.objects.filter(pk=by_number.pk).update(status="ERROR")  # refused since
    may_not_say(house)
    house.adapter = house.another()
    assert enter(by_key, house, house.venue.key) == []
    house.venue.may_read_spot = True
    house.adapter = house.another()
    (check,) = enter(third, house, house.venue.key)
    assert check.name == "owner"
    by_number.refresh_from_db()
    assert by_number.claim != ""


def test_a_key_that_was_sealed_anew_is_asked_once_more(
    row: ExecutionConnection, house: House
) -> None:
    row.refresh_from_db()
    row.set_credentials(house.spec.credentials)
    assert not spec_for(row).is_identity_sure
    assert read(row, house) == (1, 0)
    row.refresh_from_db()
    assert spec_for(row).is_identity_sure


def test_another_accounts_key_is_no_sure_one_before_its_test(
    row: ExecutionConnection, house: House
) -> None:
    set_credentials(row.pk, by=row.user, values={**house.spec.credentials, "api_key": OTHERS})
    row.refresh_from_db()
    spec = spec_for(row)
    with pytest.raises(ReadFailed) as failed:
        house.run(house.adapter.positions(spec))
    assert failed.value.code is Code.OTHER_ACCOUNT
    with pytest.raises(NotSent):
        house.run(house.adapter.submit(spec, house.order(), nothing_against))


def test_whose_key_it_is_is_asked_with_the_rank_of_the_exit_that_needs_it(house: House) -> None:
    """Polls that have taken all of what reads may take do not hold it up."""
    spec = replace(house.spec, identity="1001 swap")
    house.warm()
    assert house.submit(house.order())  # without a question: nothing is known
    client = house.run(house.adapter._clients.of(spec))
    assert client.identity is None
    client.budgets.reads.rest(60)
    leaving = house.order(side=Side.SELL, reduce_only=True)
    assert house.run(house.adapter.submit(spec, leaving, nothing_against))
