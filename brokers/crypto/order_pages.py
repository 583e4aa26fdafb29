"""All working orders of an account, page by page. Raises ccxt's errors, or ValueError."""

from collections.abc import Mapping
from typing import Any

from brokers.crypto.client import Client

MAX_PAGES = 20


async def open_orders(
    client: Client, symbol: str | None = None, parameters: Mapping[str, Any] | None = None
) -> list[Mapping[str, Any]]:
    """Return the working orders as ccxt's, all or none. parameters: further ones of the request.

    Raises ValueError if there are more than can be read.
    """
    page, pages = client.rules.open_page, MAX_PAGES if client.rules.pages_orders else 1
    asked = {"type": client.settings.market, **(parameters or {})}
    found: list[Mapping[str, Any]] = []
    for _ in range(pages):
        read = await client.exchange.fetch_open_orders(symbol, None, page or None, asked)
        found += read
        if not page or len(read) < page:
            return found
        # ccxt writes it into the first order of the answer, and sorts them afterwards.
        cursors = [one["info"]["nextPageCursor"] for one in read if "nextPageCursor" in one["info"]]
        if pages > 1 and cursors == [""]:
            return found
        if not any(cursors):
            break
        asked = {**asked, "cursor": cursors[0]}
    raise ValueError(f"{len(found)} or more orders rest: they cannot be read completely")
