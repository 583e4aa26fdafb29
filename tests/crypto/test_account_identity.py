"""A key of another account: nothing is read or sent with it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from brokers.base import NotSent, ReadFailed
from brokers.types import CancelRequest, ConnectionSpec
from common.reason_codes import Code
from tests.crypto.factories import ExchangeAccount, allow, close, open_account
from tests.fakes.exchange.server import Server
from tests.fakes.exchange.venue import Fault, Venue
from tests.sampling import often

WITH_IDENTITY = [
    pytest.param((name, swap), id=f"{name}-{'swap' if swap else 'spot'}")
    for name, swap in (("binance", False), ("binance", True), ("bybit", True), ("okx", False))
]
UNKNOWN_ID = "abc000000000000990"


@pytest.fixture(params=often(WITH_IDENTITY, every=2))
def account(request: pytest.FixtureRequest) -> Iterator[ExchangeAccount]:
    name, swap = request.param
    account = open_account(name, swap=swap)
    yield account
    close(account)


def _spec_with_key(account: ExchangeAccount, key: str, uid: str) -> ConnectionSpec:
    """Return the spec with a new key, of the account `uid` at the same exchange."""
    venue = account.venue
    other = Venue(venue.markets, venue.prices, {"USDT": venue.balances["USDT"]}, key=key, uid=uid,
                  derivatives=venue.derivatives,
                  refuses_duplicates=venue.refuses_duplicates)  # fmt: skip
    account.server.stop()
    account.server = Server(type(account.server._dialect), venue, other)
    account.adapter = type(account.adapter)(
        type(account.adapter._clients)({account.spec.exchange_name: account.server.base})
    )
    credentials = {**account.spec.credentials, "api_key": key}
    return replace(account.spec, credentials=credentials, identity=_identity(account))


def _identity(account: ExchangeAccount) -> str:
    return account.run(account.adapter.account(account.spec)).identity


def test_account_reports_its_identity(account: ExchangeAccount) -> None:
    market = account.spec.settings["market"]
    assert _identity(account) == f"1001 {market}"


def test_new_key_of_same_account_trades(account: ExchangeAccount) -> None:
    spec = _spec_with_key(account, "key-new", account.venue.uid)
    assert account.run(account.adapter.submit(spec, account.order(), allow))
    assert account.run(account.adapter.find_order(spec, UNKNOWN_ID)) is None


def test_key_of_another_account_sends_and_reads_nothing(account: ExchangeAccount) -> None:
    spec = _spec_with_key(account, "key-other", "2002")
    guarded: list[object] = []
    request = account.order()
    with pytest.raises(NotSent) as outcome:
        account.run(account.adapter.submit(spec, request, guarded.append))
    assert outcome.value.code is Code.ACCOUNT_MISMATCH
    cancel = CancelRequest(UNKNOWN_ID, "", account.symbol)
    with pytest.raises(NotSent):
        account.run(account.adapter.cancel(spec, cancel))
    assert (guarded, account.venue.writes) == ([], [])
    adapter, since = account.adapter, datetime.now(UTC)
    for read in (adapter.find_order(spec, UNKNOWN_ID), adapter.positions(spec),
                 adapter.account(spec), adapter.open_orders(spec),
                 adapter.fills_since(spec, since)):  # fmt: skip
        with pytest.raises(ReadFailed) as failed:
            account.run(read)
        assert failed.value.code is Code.ACCOUNT_MISMATCH


def test_revoked_key_is_reported_as_refused_credentials(account: ExchangeAccount) -> None:
    spec = _spec_with_key(account, "key-new", account.venue.uid)
    revoked = replace(spec, credentials={**spec.credentials, "api_key": "key-gone"})
    with pytest.raises(ReadFailed) as failed:
        account.run(account.adapter.find_order(revoked, UNKNOWN_ID))
    assert failed.value.code is Code.CREDENTIALS_REFUSED


def test_failed_identity_read_fails_the_lookup(account: ExchangeAccount) -> None:
    spec = _spec_with_key(account, "key-new", account.venue.uid)
    account.run(account.adapter.instruments(replace(spec, identity="")))
    account.venue.faults.append(Fault("status", 503, "<html>busy</html>", on="read"))
    with pytest.raises(ReadFailed) as failed:
        account.run(account.adapter.find_order(spec, UNKNOWN_ID))
    assert failed.value.code is Code.BROKER_UNREACHABLE


def test_key_without_identity_trades_only_when_no_identity_is_stored() -> None:
    account = open_account("binance", swap=True)
    account.venue.may_read_spot = False
    assert _identity(account) == ""
    assert account.submit(account.order())
    spec = replace(account.spec, identity="1001 swap")
    with pytest.raises(ReadFailed) as failed:
        account.run(account.adapter.find_order(spec, UNKNOWN_ID))
    assert failed.value.code is Code.CREDENTIALS_REFUSED
    close(account)


def test_refused_identity_is_requested_again_only_by_a_test() -> None:
    """Exchanges count refused requests. A test asks again: the owner may have allowed it."""
    account = open_account("binance", swap=True)
    account.venue.may_read_spot = False

    def request_count() -> int:
        return sum(line.startswith("GET /api/v3/account") for line in account.venue.request_lines)

    for _ in range(3):
        assert _identity(account) == ""
    assert request_count() == 1
    account.venue.may_read_spot = True
    assert _identity(account) == ""
    account.run(account.adapter.test(account.spec))
    assert _identity(account) == "1001 swap"
    assert request_count() == 2
    close(account)


def test_kraken_account_has_no_identity() -> None:
    account = open_account("kraken")
    assert _identity(account) == ""
    close(account)
