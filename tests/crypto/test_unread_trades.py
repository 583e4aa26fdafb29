"""More executions at Kraken than one read has time for: the next one goes on where it stopped."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from brokers.base import NotSent, ReadFailed
from brokers.crypto.adapter import CryptoAdapter
from brokers.crypto.unread_trades import UnreadTrades, going_on
from brokers.rate_limits import Priority
from brokers.types import OrderReport
from common.reason_codes import Code
from tests.crypto.factories import D, ExchangeAccount, close, open_account

STARTER_POINTS = 42.0  # ccxt's costs of what a key may ask for at once; a page costs 6
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def kraken() -> Iterator[ExchangeAccount]:
    """An account with 520 executions of 20 orders within nine minutes."""
    account = open_account("kraken")
    account.venue.trades_per_fill = 26
    for _ in range(20):
        account.submit(account.order(quantity=D("0.052")))
    start = account.venue.now() - 50 * 60_000
    for number, trade in enumerate(account.venue.trades):
        trade.time_ms = start + number * 1000
    account.venue.trades_per_fill = 1
    yield account
    close(account)


class Budget:
    """A rate limiter that lets so many tokens through."""

    def __init__(self, tokens: float) -> None:
        self._left = tokens

    async def acquire(
        self, tokens: float = 1, *, priority: Priority = Priority.ENTRY,
        deadline: float | None = None,
    ) -> None:  # fmt: skip
        if self._left < tokens:
            raise NotSent(Code.RATE_LIMITED)
        self._left -= tokens

    def back_off(self, seconds: float) -> None:
        raise AssertionError("nothing asks for it here")


def read_after_a_pause(
    account: ExchangeAccount, adapter: CryptoAdapter, since: datetime
) -> list[OrderReport]:
    """Read with what the key may ask for after a while without requests."""
    client = account.run(adapter._clients.get(account.spec))
    limits = client.exchange.rate_limits
    client.exchange.rate_limits = replace(limits, points=Budget(STARTER_POINTS))
    return account.run(adapter.fills_since(account.spec, since))


def test_more_executions_than_the_rate_limit_lets_through_are_read(
    kraken: ExchangeAccount,
) -> None:
    adapter, since = kraken.new_adapter(), datetime.now(UTC) - timedelta(hours=1)
    found: list[OrderReport] = []
    codes: set[Code] = set()
    while not found and len(kraken.venue.trades) < 530:
        try:
            found = read_after_a_pause(kraken, adapter, since)
        except ReadFailed as failed:
            codes.add(failed.code)
            kraken.submit(kraken.order(quantity=D("0.01")))  # executed meanwhile
    assert codes == {Code.RATE_LIMITED}
    ids = [fill.broker_fill_id for report in found for fill in report.fills]
    assert len(ids) == len(set(ids)) == len(kraken.venue.trades) > 520
    assert {report.client_order_id for report in found} == {
        order.cid for order in kraken.venue.orders
    }
    (client,) = next(iter(adapter._clients._loops.values())).clients.values()
    assert client.unread is None
    kraken.run(adapter.disconnect())


def test_read_of_an_earlier_time_begins_again() -> None:
    kept = UnreadTrades(NOW - 9 * MINUTE, NOW, [])
    for _ in range(2):
        assert going_on(kept, NOW - 8 * MINUTE, NOW + MINUTE) is kept
    assert [gap.start for gap in kept.gaps] == [NOW - MINUTE]
    fresh = going_on(kept, NOW - 20 * MINUTE, NOW + 2 * MINUTE)
    assert (fresh is kept, fresh.since) == (False, NOW - 21 * MINUTE)
    assert going_on(kept, NOW + 5 * MINUTE, NOW + 6 * MINUTE) is not kept
