"""Funding of perpetuals as exchanges report it; `execution.funding` books it to positions.

It is read with an account's state, at most every few minutes, and repeats the last hour. After a
long gap each read takes some days of it. The exchange's own number makes each payment one row,
however often it is listed.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

import orjson
import structlog

from brokers.redaction import storable
from brokers.types import BrokerFunding
from common.clocks import market_at
from common.db.sql import Query, array, columns, rows, run
from connections.accounts.cash_flows import LONGEST_REFERENCE
from connections.accounts.snapshots import MAX_SYMBOL_LENGTH, is_storable_amount

log = structlog.get_logger(__name__)

READ_EVERY_SECONDS = 300  # also after a failure
LONGEST_READ = timedelta(days=6)  # one request at each exchange
OVERLAP = timedelta(hours=1)  # an exchange may list a payment so much later
LONGEST_CURRENCY = 10


@dataclass(frozen=True, slots=True)
class FundingRequest:
    """From when an account's funding is to be read.

    read_at: machine time until which it is read; history_since: market time of its first known
    state.
    """

    connection_id: UUID
    read_at: datetime | None
    history_since: datetime | None

    def span(self, earliest: datetime, now: datetime) -> tuple[datetime, datetime]:
        """Return from when until when, as market times. earliest: the broker lists no more."""
        if self.read_at is not None:
            since = max(earliest, market_at(self.read_at) - OVERLAP)
        else:
            since = max(earliest, now - LONGEST_READ, (self.history_since or now) - OVERLAP)
        return since, min(now, since + LONGEST_READ)


@dataclass(frozen=True, slots=True)
class FundingRead:
    """What was read, or that it was tried.

    behind: how long before now what is read ends; None: it could not be read.
    """

    payments: tuple[BrokerFunding, ...] = ()
    behind: timedelta | None = None


REQUESTS = Query(
    FundingRequest,
    """
SELECT a.connection_id, a.funding_read_at AS read_at,
  (SELECT min(h.read_at) FROM connections_accounthistory h
   WHERE h.connection_id = a.connection_id AND a.funding_read_at IS NULL) AS history_since
FROM connections_accountsnapshot a
WHERE a.connection_id = ANY(%s::uuid[]) AND (a.funding_tried_at IS NULL
  OR a.funding_tried_at < clock_timestamp() - make_interval(secs => %s))
""",
)

STORE = """
INSERT INTO connections_fundingpayment
  (connection_id, reference, symbol, amount, currency, quantity, at)
SELECT * FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::numeric[], %s::text[], %s::numeric[],
  %s::timestamptz[])
ON CONFLICT (connection_id, reference) DO NOTHING
"""

MARK = """
UPDATE connections_accountsnapshot a
SET funding_tried_at = clock_timestamp(), funding_read_at = coalesce(d.until, a.funding_read_at)
FROM unnest(%s::uuid[], %s::timestamptz[]) AS d(id, until) WHERE a.connection_id = d.id
"""


class UnbookedFunding(NamedTuple):
    """A payment that is not booked yet. account_currency: None until the account was read."""

    id: int
    connection_id: UUID
    symbol: str
    amount: Decimal
    currency: str
    quantity: Decimal | None
    at: datetime
    account_currency: str | None


# Only a while after it was read: fills of just before may be reported later. Those of an order
# without an answer may take longer.
UNBOOKED = Query(
    UnbookedFunding,
    """
SELECT f.id, f.connection_id, f.symbol, f.amount, f.currency, f.quantity, f.at,
  a.currency AS account_currency
FROM connections_fundingpayment f
LEFT JOIN connections_accountsnapshot a ON a.connection_id = f.connection_id
WHERE f.booked_at IS NULL
  AND f.recorded_at < clock_timestamp() - make_interval(secs => %(older)s)
  AND (f.recorded_at < clock_timestamp() - make_interval(secs => %(longest)s)
    OR (f.connection_id, f.symbol) NOT IN (
      SELECT * FROM unnest(%(connections)s::uuid[], %(symbols)s::text[])))
ORDER BY f.id LIMIT %(limit)s FOR NO KEY UPDATE OF f SKIP LOCKED
""",
)

BOOKED = """
UPDATE connections_fundingpayment f SET booked_at = clock_timestamp(), shares = d.shares
FROM unnest(%s::bigint[], %s::jsonb[]) AS d(id, shares) WHERE f.id = d.id
"""


def funding_requests(connection_ids: Sequence[UUID]) -> dict[UUID, FundingRequest]:
    """Return what funding to read of those accounts that are due for it."""
    if not connection_ids:
        return {}
    due = rows(REQUESTS, (array(connection_ids), READ_EVERY_SECONDS))
    return {row.connection_id: row for row in due}


def usable_funding(connection_id: str, listed: Iterable[BrokerFunding]) -> list[BrokerFunding]:
    """Return the payments that can be stored. The others are logged: they must not lose these."""
    usable = []
    for one in listed:
        if _is_usable(one):
            usable.append(one)
        else:
            log.error("a funding payment cannot be stored", connection=connection_id, payment=one)
    return usable


def _is_usable(one: BrokerFunding) -> bool:
    texts = (
        (one.reference, LONGEST_REFERENCE),
        (one.symbol, MAX_SYMBOL_LENGTH),
        (one.currency, LONGEST_CURRENCY),
    )
    numbers = (one.amount, Decimal(0) if one.quantity is None else one.quantity)
    return all(
        0 < len(text) <= longest and storable(text) == text for text, longest in texts
    ) and all(map(is_storable_amount, numbers))


def store_funding(read: Sequence[tuple[UUID, datetime, FundingRead]]) -> int:
    """Store what was read, how far, and that it was tried; return how many payments were new.

    read: connection, machine time at which the read began, what was read (`usable_funding`).
    """
    records = [
        (connection_id, one.reference, one.symbol, one.amount, one.currency, one.quantity, one.time)
        for connection_id, _, found in read
        for one in found.payments
        if one.amount
    ]
    new = run(STORE, columns(records, 7)) if records else 0
    if read:
        until = [
            (connection_id, None if found.behind is None else began - found.behind)
            for connection_id, began, found in read
        ]
        run(MARK, columns(until, 2))
    return new


def unbooked_funding(
    *,
    older_than_seconds: float,
    limit: int,
    unsettled: Collection[tuple[UUID, str]] = (),
    longest_seconds: float = 0.0,
) -> list[UnbookedFunding]:
    """Lock and return payments that are not booked yet; those that another process has locked are
    left out.

    unsettled: connections and symbols whose payments wait, `longest_seconds` at most.
    """
    connections, symbols = columns(sorted(unsettled), 2)
    known = {"older": older_than_seconds, "longest": longest_seconds, "limit": limit}
    return rows(UNBOOKED, {**known, "connections": connections, "symbols": symbols})


def mark_funding_booked(shares: Mapping[int, Mapping[int, Decimal]]) -> None:
    """Mark payments as booked. shares: by payment, what each position got of it."""
    records = [
        (pk, orjson.dumps({str(position): f"{amount:f}" for position, amount in got.items()})
         .decode())
        for pk, got in shares.items()
    ]  # fmt: skip
    if records:
        run(BOOKED, columns(records, 2))
