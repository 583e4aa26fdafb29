"""All working orders of an account. Raises ccxt's errors, or ReadFailed."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from brokers.base import ReadFailed
from brokers.crypto.client import Client
from brokers.crypto.paging import read_pages
from brokers.shared_reads import shared
from common.reason_codes import Code


async def open_orders(
    client: Client, symbol: str | None = None, parameters: Mapping[str, Any] | None = None
) -> Sequence[Mapping[str, Any]]:
    """Return the working orders as ccxt's, all or none. parameters: further ones of the request.

    Raises ReadFailed if there are more than can be read.
    """
    if symbol is None and not parameters:
        return await shared("open orders", partial(_read_all, client, None, {}))
    return await _read_all(client, symbol, parameters or {})


async def _read_all(
    client: Client, symbol: str | None, parameters: Mapping[str, Any]
) -> Sequence[Mapping[str, Any]]:
    page = client.rules.open_page
    asked = {"type": client.settings.market, **parameters}

    async def read(further: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        orders: Sequence[Mapping[str, Any]] = await client.exchange.fetch_open_orders(
            symbol, None, page or None, {**asked, **further}
        )
        return orders

    found, is_complete = await read_pages(client.rules.open_paging, page, read, id_name="ordId")
    if not is_complete:
        raise too_many(len(found))
    return found


def too_many(count: int) -> ReadFailed:
    """Return the error of a list that cannot be read completely. count: what was read of it."""
    return ReadFailed(Code.TOO_MANY_OPEN_ORDERS, f"{count} or more orders are open")
