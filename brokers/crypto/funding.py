"""Read what an exchange booked as funding of perpetuals within a time, completely.

Sources: ccxt 4.5.90 fetchFundingHistory and parseIncome of each exchange. Binance: GET income, type
FUNDING_FEE, an amount below 0 is charged. Bybit: executions of type Funding, whose execFee is a
cost. OKX: bills of type 8, balChg; ccxt neither sends its `since` nor an end there. Pages:
Binance's have numbers (`page`), Bybit's a nextPageCursor; OKX's go on `after` a billId.
Raises ccxt's errors, KeyError or ValueError.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from brokers.crypto import parse
from brokers.crypto.client import Client
from brokers.crypto.exchanges import FundingApi, Paging
from brokers.crypto.paging import read_pages
from brokers.crypto.reads import call_method
from brokers.types import BrokerFunding

SPAN = timedelta(days=6, hours=23)  # Bybit's longest
MIN_SPAN = timedelta(seconds=2)
SLACK = timedelta(seconds=5)
PAGES = {FundingApi.INCOME: 1000, FundingApi.EXECUTIONS: 100, FundingApi.BILLS: 100}
PAGING = {
    FundingApi.INCOME: Paging.NUMBER, FundingApi.EXECUTIONS: Paging.CURSOR,
    FundingApi.BILLS: Paging.OLDER,
}  # fmt: skip
SYMBOL_FIELDS = {
    FundingApi.INCOME: "symbol", FundingApi.EXECUTIONS: "symbol", FundingApi.BILLS: "instId",
}  # fmt: skip


async def funding_between(
    client: Client, *, since: datetime, until: datetime
) -> list[BrokerFunding]:
    """Return the funding of all listed symbols between two times, and of a few seconds around."""
    api = client.rules.funding
    assert api is not None  # the adapter has refused others
    end, start = until + SLACK, since - SLACK
    found: dict[str, BrokerFunding] = {}
    while start < end:
        middle = min(end, start + SPAN)
        for entry in await _between(client, api, start, middle):
            if one := _funding(client, api, entry):
                found[one.reference] = one
        start = middle
    return list(found.values())


async def _between(
    client: Client, api: FundingApi, start: datetime, end: datetime
) -> list[Mapping[str, Any]]:
    """Return all entries of a time; what all pages do not hold is read again in two halves."""
    entries, is_complete = await read_pages(
        PAGING[api], PAGES[api], partial(_page, client, api, start, end)
    )
    if is_complete:
        return entries
    if end - start < MIN_SPAN:
        raise ValueError(f"more than {len(entries)} fundings within {end - start}")
    middle = start + (end - start) / 2
    return [
        *await _between(client, api, start, middle), *await _between(client, api, middle, end),
    ]  # fmt: skip


async def _page(
    client: Client, api: FundingApi, start: datetime, end: datetime, further: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    """Return a page of the entries of a time. further: what asks for it."""
    page, since, until = PAGES[api], _ms(start), _ms(end)
    options: dict[str, Any] = {"until": until}
    if api is FundingApi.EXECUTIONS:
        options["limit"] = page
    elif api is FundingApi.BILLS:
        options = {"begin": str(since), "end": str(until), "type": "8"}
    entries: list[Mapping[str, Any]] = await call_method(
        client, "fetch_funding_history", None, since, page, {**options, **further}
    )
    return entries


def _funding(client: Client, api: FundingApi, entry: Mapping[str, Any]) -> BrokerFunding | None:
    """Return a payment; None: of a contract that is no longer listed, which no account can hold.

    The reference has the exchange's own names: ccxt's symbol of a contract ends with its listing.
    """
    market = client.exchange.markets.get(entry["symbol"])
    if market is None:
        return None
    amount, info = parse.number(entry["amount"]), entry["info"]
    currency, quantity = entry["code"], None
    if api is FundingApi.EXECUTIONS:  # ccxt says USDT for each linear contract
        amount, quantity, currency = -amount, parse.number(info["execQty"]), market["settle"]
    elif api is FundingApi.BILLS:
        quantity = abs(parse.number(info["sz"])) * parse.number(market["contractSize"])
    return BrokerFunding(
        reference=f"{info[SYMBOL_FIELDS[api]]}:{entry['id']}",
        symbol=str(entry["symbol"]),
        amount=amount,
        currency=str(currency),
        time=datetime.fromtimestamp(int(entry["timestamp"]) / 1000, UTC),
        quantity=quantity,
    )


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
