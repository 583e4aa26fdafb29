"""What the doctor asks about prices: whether each used source tells them, and what helps."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from brokers.types import Check
from common.clocks import market_now
from common.formatting import age, join_first
from common.sql import rows
from connections.exposure import is_monitored_sql
from connections.models import DataConnection
from connections.selectors import PARTIAL, SourceStatus, source_status, with_status
from ops.doctor.verdicts import failure, warning, well
from prices.selectors import newest_time


@dataclass(frozen=True, slots=True)
class BrokerSource:
    """A source that a broker tells, and how it fares. accounts: how many go by it."""

    name: str
    accounts: int
    status: SourceStatus


def sources_sql() -> str:
    """The price sources of accounts that are watched."""
    return f"""
SELECT d.id, d.name, d.kind, count(*) AS accounts,
  (SELECT extract(epoch FROM clock_timestamp() - max(q.received_at))::float8
    FROM prices_latestquote q WHERE q.data_connection_id = d.id) AS received
FROM connections_executionconnection c JOIN connections_dataconnection d
  ON d.id = c.data_connection_id
WHERE {is_monitored_sql()} GROUP BY d.id, d.name, d.kind ORDER BY d.name
"""


def market_data() -> list[Check]:
    """The price sources that accounts use which are switched on or have something open: each that
    is recorded, and of those that brokers tell all that need the same in one."""
    found, accounts = [], dict[int, int]()
    for row in rows(sources_sql()):
        if row.kind == DataConnection.Kind.BROKER:
            accounts[row.id] = row.accounts
        else:
            newest = newest_time(row.id)
            found.append(judge_source(row.name, row.kind, row.accounts, row.received, newest))
    alike: dict[tuple[str, str], list[BrokerSource]] = {}
    now = datetime.now(UTC)
    for source in with_status(DataConnection.objects.filter(pk__in=accounts)).order_by(
        "name", "pk"
    ):
        told = BrokerSource(source.name, accounts[source.pk], source_status(source, now))
        alike.setdefault((told.status.label, told.status.remedy), []).append(told)
    found += [judge_brokers(some) for some in alike.values()]
    return found or [well("market data", "No active account uses a price source yet.")]


def judge_source(
    name: str, kind: str, accounts: int, received: float | None, newest: datetime | None
) -> Check:
    """received: seconds since the last quote came in; newest: its time by the market clock."""
    title = f"market data: {name}"
    remedy = "Start `manage.py prices`, and check the source's settings."
    if received is None or newest is None:
        return failure(title, f"No quote at all, for {accounts} accounts.", remedy)
    if kind == "static":
        return well(title, "Constant quotes.")
    market_age = (market_now() - newest).total_seconds()
    detail = f"Last quote {age(received)} ago, {age(max(market_age, 0))} old by the market clock."
    if max(received, market_age) > 60:
        return warning(title, detail, f"If the market is open: {remedy[0].lower()}{remedy[1:]}")
    return well(title, detail)


def judge_brokers(told: Sequence[BrokerSource]) -> Check:
    """Some that brokers tell by accounts and that fare alike, in the words of their pages."""
    names, fares = [one.name for one in told], told[0].status
    title, said = f"market data: {join_first(names)}", fares.message
    if len(told) > 1 and said:
        said = f"{names[0]}: {said}"
    if fares.is_well:
        return well(title, said or "It tells.")
    accounts = sum(one.accounts for one in told)
    detail = f"{fares.label}, for {accounts} account{'s' * (accounts != 1)}. {said}"
    remedy = fares.remedy or "Look at the page of the account that tells it."
    # Where something is told the rest may be traded.
    judge = warning if fares.label == PARTIAL else failure
    return judge(title, detail, remedy)
