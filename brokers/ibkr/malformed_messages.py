"""A message that makes no sense, or half of one: what of it an account's owner may read. Pure.

A login may have accounts of several people, and TWS tells all of them on one line.
"""

from collections.abc import Collection, Sequence

from brokers.ibkr.endpoint import Endpoint
from brokers.ibkr.order_cache import OrderCache
from brokers.ibkr.tws_socket import OPEN_ORDER
from brokers.redaction import readable_excerpt

NUMBER_AT = {"3": 1, "4": 2, OPEN_ORDER: 1}  # where an order's number stands: status, error, order


def quotable_text(
    raw: str, endpoint: Endpoint, accounts: Collection[str], ledger: OrderCache
) -> str:
    """Return what came of a message that names the place's account or answers an order of its
    owner's; another may be of somebody else's: the log has it. accounts: all that the login has."""
    fields = raw.split("|")
    others = set(accounts) - {endpoint.account}
    if others.isdisjoint(fields) and (
        endpoint.account in fields or _is_answer_to_us(fields, endpoint, ledger)
    ):
        return readable_excerpt(
            raw.encode("utf-8", "backslashreplace"), {}
        )  # a gateway has no secrets
    return "a message makes no sense (the log has it)"


def _is_answer_to_us(fields: Sequence[str], endpoint: Endpoint, ledger: OrderCache) -> bool:
    """Whether it is about an order that waits for its answer. Orders of other clients are told with
    numbers of theirs: one that has ours is ours only in the same contract."""
    at = NUMBER_AT.get(fields[0], len(fields))
    if len(fields) <= at or not fields[at].isdecimal():
        return False
    record = ledger.by_number(endpoint.connection_id, endpoint.client_id, int(fields[at]))
    if record is None or not (record.awaited or record.cancelling):
        return False
    return fields[0] != OPEN_ORDER or fields[2:3] == [str(record.con_id)]
