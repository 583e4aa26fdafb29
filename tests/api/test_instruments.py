"""The instruments of an account over HTTP, with the hours of their markets."""

from datetime import timedelta

from common.clocks import market_now
from connections.models import ExecutionConnection
from tests.api.factories import World
from tests.connections import make


def test_owner_reads_instruments_with_their_markets(world: World) -> None:
    now = market_now()
    known, opened = ([int((now + timedelta(hours=n)).timestamp()) for n in span] for span in
                     [(-9, 9), (2, 4)])  # fmt: skip
    make.instrument("AAPL", "AAPL/USD", book="b", exchange="XNYS",
                    hours={"known": [known], "open": [opened]})  # fmt: skip
    make.instrument("BTCUSDT", "BTC/USDT", book="b")
    ExecutionConnection.objects.filter(pk=world.connection.pk).update(instrument_book="b")
    path = f"/api/v1/connections/{world.connection.pk}/instruments/"
    rows = world.client("alice").get(path).json()["results"]
    by_symbol = {row["symbol"]: row for row in rows}
    assert set(by_symbol) == {"AAPL", "BTCUSDT"}
    market = by_symbol["AAPL"]["market"]
    assert (market["is_open"], market["source"], market["calendar"]) == (False, "EXCHANGE", "XNYS")
    assert market["opens_at"].startswith(f"{now + timedelta(hours=2):%Y-%m-%dT%H:}")
    assert market["known_until"] > market["as_of"]
    assert by_symbol["BTCUSDT"]["market"]["is_open"] is True
    assert by_symbol["BTCUSDT"]["market"]["known_until"] is None
    one = world.client("alice").get(f"{path}?pair=BTC/USDT").json()["results"]
    assert [row["symbol"] for row in one] == ["BTCUSDT"]
    assert world.client("bob").get(path).status_code == 404


def test_account_without_a_book_has_none(world: World) -> None:
    ExecutionConnection.objects.filter(pk=world.connection.pk).update(instrument_book="")
    path = f"/api/v1/connections/{world.connection.pk}/instruments/"
    assert world.client("alice").get(path).json()["results"] == []
