"""A key of another account: nothing is asked, sent or concluded with it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from brokers.base import NotSent, ReadFailed
from brokers.types import CancelRequest, ConnectionSpec
from common.reason_codes import Code
from tests.crypto.factories import VenueSetup, allow, close, open_venue
from tests.fakes.exchange.server import Server
from tests.fakes.exchange.venue import Fault, Venue

TELL = [("binance", False), ("binance", True), ("bybit", True), ("okx", False)]
LOST = "abc000000000000990"


@pytest.fixture(params=TELL, ids=lambda kind: f"{kind[0]}-{'swap' if kind[1] else 'spot'}")
def made(request: pytest.FixtureRequest) -> Iterator[VenueSetup]:
    name, swap = request.param
    one = open_venue(name, swap=swap)
    yield one
    close(one)


def _with(house: VenueSetup, key: str, uid: str) -> ConnectionSpec:
    """The connection with a new key, of the account `uid`; both accounts are at one exchange."""
    mine = house.venue
    other = Venue(mine.markets, mine.prices, {"USDT": mine.balances["USDT"]}, key=key, uid=uid,
                  derivatives=mine.derivatives, unique=mine.unique)  # fmt: skip
    house.server.stop()
    house.server = Server(type(house.server._dialect), mine, other)
    house.adapter = type(house.adapter)(
        type(house.adapter._clients)({house.spec.exchange_name: house.server.base})
    )
    keys = {**house.spec.credentials, "api_key": key}
    return replace(house.spec, credentials=keys, identity=_identity(house))


def _identity(house: VenueSetup) -> str:
    return house.run(house.adapter.account(house.spec)).identity


def test_an_account_says_which_it_is(made: VenueSetup) -> None:
    market = made.spec.settings["market"]
    assert _identity(made) == f"1001 {market}"


def test_a_new_key_of_the_same_account_goes_on(made: VenueSetup) -> None:
    spec = _with(made, "key-new", made.venue.uid)
    assert made.run(made.adapter.submit(spec, made.order(), allow))
    assert made.run(made.adapter.find_order(spec, LOST)) is None


def test_a_key_of_another_account_sends_and_proves_nothing(made: VenueSetup) -> None:
    spec = _with(made, "key-other", "2002")
    asked: list[object] = []
    request = made.order()
    with pytest.raises(NotSent) as outcome:
        made.run(made.adapter.submit(spec, request, asked.append))
    assert outcome.value.code is Code.ACCOUNT_MISMATCH
    wanted = CancelRequest(LOST, "", made.symbol)
    with pytest.raises(NotSent):
        made.run(made.adapter.cancel(spec, wanted))
    assert (asked, made.venue.arrived) == ([], [])
    adapter, since = made.adapter, datetime.now(UTC)
    for read in (adapter.find_order(spec, LOST), adapter.positions(spec), adapter.account(spec),
                 adapter.open_orders(spec), adapter.fills_since(spec, since)):  # fmt: skip
        with pytest.raises(ReadFailed) as failed:
            made.run(read)
        assert failed.value.code is Code.ACCOUNT_MISMATCH


def test_a_key_that_was_revoked_is_told_as_that(made: VenueSetup) -> None:
    spec = _with(made, "key-new", made.venue.uid)
    revoked = replace(spec, credentials={**spec.credentials, "api_key": "key-gone"})
    with pytest.raises(ReadFailed) as failed:
        made.run(made.adapter.find_order(revoked, LOST))
    assert failed.value.code is Code.CREDENTIALS_REFUSED


def test_an_exchange_that_does_not_say_it_is_not_believed_either(made: VenueSetup) -> None:
    spec = _with(made, "key-new", made.venue.uid)
    made.run(made.adapter.instruments(replace(spec, identity="")))
    made.venue.faults.append(Fault("status", 503, "<html>busy</html>", on="read"))
    with pytest.raises(ReadFailed) as failed:
        made.run(made.adapter.find_order(spec, LOST))
    assert failed.value.code is Code.BROKER_UNREACHABLE


def test_a_key_that_may_not_say_whose_it_is_trades_where_nothing_is_known_yet() -> None:
    one = open_venue("binance", swap=True)
    one.venue.may_read_spot = False
    assert _identity(one) == ""
    assert one.submit(one.order())
    spec = replace(one.spec, identity="1001 swap")
    with pytest.raises(ReadFailed) as failed:
        one.run(one.adapter.find_order(spec, LOST))
    assert failed.value.code is Code.CREDENTIALS_REFUSED
    close(one)


def test_a_key_that_may_not_say_it_is_not_asked_each_minute() -> None:
    """Its exchange counts what it refuses. A test asks anew: its owner may have allowed it."""
    one = open_venue("binance", swap=True)
    one.venue.may_read_spot = False

    def asked() -> int:
        return sum(line.startswith("GET /api/v3/account") for line in one.venue.seen)

    for _ in range(3):
        assert _identity(one) == ""
    assert asked() == 1
    one.venue.may_read_spot = True
    assert _identity(one) == ""
    one.run(one.adapter.test(one.spec))
    assert _identity(one) == "1001 swap"
    assert asked() == 2
    close(one)


def test_kraken_does_not_say_it() -> None:
    one = open_venue("kraken")
    assert _identity(one) == ""
    close(one)
