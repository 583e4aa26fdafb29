"""Long lists of an exchange, page by page, as it continues them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from brokers.crypto.exchanges import Paging

MAX_PAGES = 20
IDENTITY = ("symbol", "order", "id", "side")  # ids of trades repeat; orders have no "order"
Entry = Mapping[str, Any]
ReadPage = Callable[[Mapping[str, Any]], Awaitable[Sequence[Entry]]]


async def read_pages(
    paging: Paging, size: int, read: ReadPage, *, id_name: str = "billId"
) -> tuple[list[Entry], bool]:
    """Return the entries of a list, each once, and whether they are all.

    size: how many a page holds; 0: all. read: reads a page, given the further parameters that ask
    for it; id_name: OKX's field of the id that it pages by. Raises what `read` raises.
    """
    found: dict[tuple[str, ...], Entry] = {}
    asked: Mapping[str, Any] = {}
    for number in range(1, MAX_PAGES + 1):
        page, known = await read(asked), len(found)
        found |= {identity_of(one): one for one in page}
        if not size or len(page) < size:
            return list(found.values()), True
        following = _next_page(paging, page, number, id_name)
        if following == {}:
            return list(found.values()), True
        if following is None or len(found) == known:
            break  # it cannot be asked for, or was the same page again
        asked = following
    return list(found.values()), False


def identity_of(entry: Entry) -> tuple[str, ...]:
    """Return what distinguishes an entry from all others of its list."""
    return tuple(str(entry.get(name)) for name in IDENTITY)


def _next_page(
    paging: Paging, page: Sequence[Entry], number: int, id_name: str
) -> Mapping[str, Any] | None:
    """Return the parameters that ask for what follows a full page; none if nothing follows; None
    if it cannot be asked for. number: the page's own, from 1 on."""
    match paging:
        case Paging.CURSOR:  # ccxt writes it into the first line of the answer, and sorts them
            cursors = [one["info"].get("nextPageCursor") for one in page]
            cursor = next((one for one in cursors if one is not None), None)
            return {"cursor": cursor} if cursor else None if cursor is None else {}
        case Paging.OLDER:
            return {"after": str(min(int(one["info"][id_name]) for one in page))}
        case Paging.NEWER:
            return {"fromId": max(int(one["id"]) for one in page) + 1}
        case Paging.NUMBER:
            return {"page": number + 1}
        case Paging.TIME | Paging.NONE:
            return None
