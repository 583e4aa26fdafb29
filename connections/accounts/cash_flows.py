"""Deposits and withdrawals as brokers report them, and how far they are known.

They are read after the account's state, and again with a new state whenever one is new
(`connections.health.account_polling`). So a state and the flows that are stored with it agree: its
balance includes all of them, and no other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from django.db import transaction

from brokers.redaction import storable
from brokers.types import BrokerCashFlow
from common.clocks import market_at
from common.db.sql import Query, array, columns, rows, run
from connections.accounts.limit_scope import applies_sql
from connections.models import CashFlowRead, ExecutionConnection

OVERLAP = timedelta(days=1)  # a broker may list a flow so much later
STEP = timedelta(microseconds=1)
SAME_ENTRY = timedelta(days=2)  # people enter the day, and servers have other clocks
LONGEST_REFERENCE, LONGEST_ERROR = 100, 200
REFUSED_AGAIN = timedelta(hours=1)
FAILED_AGAIN = timedelta(minutes=5)  # for accounts without limits: a year is much to ask for


@dataclass(frozen=True, slots=True)
class FlowRequest:
    """What is known of an account's flows before they are read.

    known: references that are stored. read_at: machine time of the last state that was stored with
    its flows; equity: of that state. history_since: market time of the first known state.
    """

    connection_id: UUID
    read_at: datetime | None
    equity: Decimal | None
    history_since: datetime | None
    known: list[str]

    def since(self, earliest: datetime, now: datetime) -> datetime:
        """Return from when flows are read (market time). earliest: the broker lists no more."""
        if self.read_at is not None:
            return max(earliest, market_at(self.read_at) - OVERLAP)
        return max(earliest, (self.history_since or now) - OVERLAP)


@dataclass(frozen=True, slots=True)
class AccountFlows:
    """The flows that were read beside a state and were not stored before.

    error: why they could not be read; '': they were. is_refused: the broker does not list them for
    this account, so it is not worth trying again soon. again_after: how long accounts without
    limits wait after a failure.
    """

    request: FlowRequest
    flows: tuple[BrokerCashFlow, ...] = ()
    error: str = ""
    is_refused: bool = False
    again_after: timedelta | None = None


REQUESTS = Query(
    FlowRequest,
    f"""
SELECT c.id AS connection_id, r.read_at, r.equity,
  (SELECT min(h.read_at) FROM connections_accounthistory h
   WHERE h.connection_id = c.id AND r.read_at IS NULL) AS history_since,
  ARRAY(SELECT f.reference::text FROM connections_cashflow f
   WHERE f.connection_id = c.id AND f.reference <> ''
     AND f.at > coalesce(r.read_at, '-infinity') - interval '3 days') AS known
FROM connections_executionconnection c
LEFT JOIN connections_cashflowread r ON r.connection_id = c.id
WHERE c.id = ANY(%s::uuid[])
  AND (r.retry_at IS NULL OR r.retry_at <= clock_timestamp()
    OR r.missing_since IS NOT NULL AND EXISTS (SELECT FROM connections_losslimit l
      WHERE {applies_sql(account="c.id", preset="c.preset_id")}))
""",
)


def flow_requests(connection_ids: Sequence[UUID]) -> dict[UUID, FlowRequest]:
    """Return what to read of these accounts.

    Left out are those whose broker lists none, for an hour, and those without limits for some
    minutes after a failure.
    """
    if not connection_ids:
        return {}
    return {row.connection_id: row for row in rows(REQUESTS, (array(connection_ids),))}


def effective_times(
    read: AccountFlows, *, equity: Decimal, state_at: datetime
) -> list[tuple[BrokerCashFlow, datetime]]:
    """Return the new flows with the times from which they count. Pure.

    equity, state_at: of the state that they were read with, market time.

    The state includes all of them, so none counts later than it, whatever the broker's clock says.
    A flow from before the previous state was not listed then. Either the broker's clock is behind,
    and it came after that state; or the broker has listed it late. The equity shows which: it has
    changed by about the flow since then, or not.
    """
    previous = read.request.read_at and market_at(read.request.read_at)
    before = read.request.equity
    unlisted: list[BrokerCashFlow] = []
    if previous is not None and before is not None:
        unlisted = [flow for flow in read.flows if flow.time <= previous]
    moved, change = sum((flow.amount for flow in unlisted), Decimal(0)), equity - (before or 0)
    came_since = unlisted if abs(change - moved) < abs(change) else []
    return [
        (flow, min(previous + STEP if previous and flow in came_since else flow.time, state_at))
        for flow in read.flows
    ]


class EnteredFlow(NamedTuple):
    """A deposit or withdrawal that was entered by hand, and that no broker has reported yet."""

    id: int
    connection_id: UUID
    amount: Decimal
    at: datetime


_ENTERED = Query(
    EnteredFlow,
    """
SELECT id, connection_id, amount, at FROM connections_cashflow
WHERE connection_id = ANY(%s::uuid[]) AND origin = 'OWNER' AND reference = ''
ORDER BY id FOR NO KEY UPDATE
""",
)
_CLAIM = """
UPDATE connections_cashflow f SET reference = d.reference, at = d.at
FROM unnest(%s::bigint[], %s::timestamptz[], %s::text[]) AS d(id, at, reference)
WHERE f.id = d.id AND NOT EXISTS (SELECT FROM connections_cashflow known
  WHERE known.connection_id = f.connection_id AND known.reference = d.reference)
"""

_STORE_CASH_FLOWS = """
INSERT INTO connections_cashflow (connection_id, at, amount, is_credit, origin, reference)
SELECT id, at, amount, is_credit, 'BROKER', reference
FROM unnest(%s::uuid[], %s::timestamptz[], %s::numeric[], %s::boolean[], %s::text[])
  AS t (id, at, amount, is_credit, reference)
WHERE amount <> 0 ORDER BY id, at
ON CONFLICT (connection_id, reference) WHERE reference <> '' DO NOTHING
"""


@transaction.atomic
def store_cash_flows(flows: Sequence[tuple[UUID, datetime, BrokerCashFlow]]) -> int:
    """Store deposits and withdrawals as brokers report them; return how many were new.

    flows: connection, market time from which it counts, flow. A repeated report is recognised by
    its reference; one that its owner has entered by hand before by its amount and time: the entry
    gets the reference, and the time from which the broker's counts. Raises ValueError for an
    amount that is not a number, or without a reference.
    """
    for _, _, flow in flows:
        if not flow.amount.is_finite() or not 0 < len(flow.reference) <= LONGEST_REFERENCE:
            raise ValueError("a deposit or withdrawal has no amount or no reference")
    if not flows:
        return 0
    entries = rows(_ENTERED, (array(connection_id for connection_id, *_ in flows),))
    same = entered_by_hand(flows, entries)
    if same:
        run(_CLAIM, columns([(entry.id, at, flow.reference) for entry, at, flow in same], 3))
    claimed = {(entry.connection_id, flow.reference) for entry, _, flow in same}
    records = [
        (connection_id, at, flow.amount, flow.is_credit, flow.reference)
        for connection_id, at, flow in flows
        if (connection_id, flow.reference) not in claimed
    ]
    return run(_STORE_CASH_FLOWS, columns(records, 5)) if records else 0


def entered_by_hand(
    flows: Sequence[tuple[UUID, datetime, BrokerCashFlow]], entries: Sequence[EnteredFlow]
) -> list[tuple[EnteredFlow, datetime, BrokerCashFlow]]:
    """Return which entries are deposits that the broker reports, each with when it counts. Pure.

    The same amount at about the same time; the nearest is taken, and each entry once. Entries that
    correct each other are none, nor is credit: people enter what changed the balance.
    """
    left = uncorrected(entries)
    same: list[tuple[EnteredFlow, datetime, BrokerCashFlow]] = []
    listed = {(pk, flow.reference): (at, flow) for pk, at, flow in flows if not flow.is_credit}
    for (connection_id, _), (at, flow) in listed.items():
        near = [
            entry
            for entry in left
            if entry.connection_id == connection_id and entry.amount == flow.amount
            and abs(entry.at - flow.time) <= SAME_ENTRY
        ]  # fmt: skip
        if near:
            nearest = min(near, key=lambda entry: abs(entry.at - flow.time))
            left.remove(nearest)
            same.append((nearest, at, flow))
    return same


def uncorrected(entries: Sequence[EnteredFlow]) -> list[EnteredFlow]:
    """Return the entries that no later one takes back, which is how they are corrected. Pure.

    entries: in the order in which they were entered.
    """
    left: list[EnteredFlow] = []
    for entry in entries:
        taken_back = [
            one
            for one in left
            if one.connection_id == entry.connection_id and one.amount == -entry.amount
            and abs(one.at - entry.at) <= SAME_ENTRY
        ]  # fmt: skip
        if taken_back:
            left.remove(taken_back[-1])
        else:
            left.append(entry)
    return left


# Only for a state that was stored: an older one was dropped.
_MARK_READ = """
INSERT INTO connections_cashflowread AS r (
  connection_id, read_at, equity, missing_since, error, retry_at)
SELECT t.id, CASE WHEN t.error = '' THEN t.read_at END, CASE WHEN t.error = '' THEN a.equity END,
  CASE WHEN t.error <> '' AND NOT t.is_refused THEN t.read_at END, t.error,
  clock_timestamp() + t.again_after
FROM unnest(%s::uuid[], %s::timestamptz[], %s::text[], %s::boolean[], %s::interval[])
  AS t (id, read_at, error, is_refused, again_after)
JOIN connections_accountsnapshot a ON a.connection_id = t.id AND a.read_at = t.read_at
ORDER BY t.id
ON CONFLICT (connection_id) DO UPDATE SET
  read_at = coalesce(excluded.read_at, r.read_at), equity = coalesce(excluded.equity, r.equity),
  missing_since = CASE WHEN excluded.missing_since IS NOT NULL
    THEN coalesce(r.missing_since, excluded.missing_since) END,
  error = excluded.error, retry_at = excluded.retry_at
"""


def mark_flows_read(read: Sequence[tuple[UUID, datetime, AccountFlows]]) -> None:
    """Record which states were stored with their flows. Call it after the states are stored.

    read: connection, the state's `read_at`, what was read.
    """
    records = [
        (
            connection_id,
            read_at,
            storable(flows.error)[:LONGEST_ERROR],
            flows.is_refused,
            REFUSED_AGAIN if flows.is_refused else flows.again_after,
        )
        for connection_id, read_at, flows in read
    ]
    if records:
        run(_MARK_READ, columns(records, 5))


def mark_flows_missing(connection_id: UUID, read_at: datetime) -> None:
    """Record that a state was stored without its flows; the next read of the account has them."""
    requests = flow_requests([connection_id])
    if request := requests.get(connection_id):
        error = "the state is of a connection test, which does not read them"
        mark_flows_read([(connection_id, read_at, AccountFlows(request, error=error))])


def flow_note(connection: ExecutionConnection) -> str:
    """Return sentences for the account's page on its deposits; '' while nothing is known.

    Needs no statement if `cash_flow_read` is selected.
    """
    read: CashFlowRead | None = getattr(connection, "cash_flow_read", None)
    if read is None:
        return ""
    if read.is_refused:
        return (
            f"Deposits and withdrawals are not read from this account: {read.error}. "
            "Add them by hand: a withdrawal that is missing counts as a loss."
        )
    if read.missing_since is not None:
        return (
            "Deposits and withdrawals could not be read since "
            f"{read.missing_since:%Y-%m-%d %H:%M} UTC: {read.error}. "
            "Limits of balance and equity wait up to five minutes for them."
        )
    if read.read_at is None:
        return ""
    return (
        "Deposits and withdrawals are read from the broker, last at "
        f"{read.read_at:%Y-%m-%d %H:%M} UTC. Add only what it does not report."
    )
