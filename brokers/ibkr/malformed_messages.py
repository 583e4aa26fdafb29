"""Which part of a malformed or incomplete message an account's owner may read. Pure.

A login may have accounts of several people, and TWS sends messages of all of them.
"""

from collections.abc import Collection, Sequence

from brokers.ibkr.endpoint import Endpoint
from brokers.ibkr.order_cache import OrderCache
from brokers.ibkr.tws_socket import OPEN_ORDER
from brokers.redaction import readable_excerpt

NUMBER_AT = {"3": 1, "4": 2, OPEN_ORDER: 1}  # field of the order's number: status, error, order


def quotable_text(
    raw: str, endpoint: Endpoint, accounts: Collection[str], order_cache: OrderCache
) -> str:
    """Return an excerpt of a message about the endpoint's account or one of its pending orders.

    Any other message may be about another person's account: then the text only refers to the log.
    accounts: all accounts of the login."""
    fields = raw.split("|")
    others = set(accounts) - {endpoint.account}
    if others.isdisjoint(fields) and (
        endpoint.account in fields or _is_answer_to_us(fields, endpoint, order_cache)
    ):
        no_secrets: dict[str, str] = {}  # a gateway has none
        return readable_excerpt(raw.encode("utf-8", "backslashreplace"), no_secrets)
    return "TWS sent an invalid message (see the log)"


def _is_answer_to_us(fields: Sequence[str], endpoint: Endpoint, order_cache: OrderCache) -> bool:
    """Whether a message is about one of our orders that waits for its answer.

    Orders of other clients have their own numbers, which may equal ours: so an open order is ours
    only if its contract is the same."""
    at = NUMBER_AT.get(fields[0], len(fields))
    if len(fields) <= at or not fields[at].isdecimal():
        return False
    record = order_cache.by_number(endpoint.connection_id, endpoint.client_id, int(fields[at]))
    if record is None or not (record.awaited or record.cancelling):
        return False
    return fields[0] != OPEN_ORDER or fields[2:3] == [str(record.con_id)]
