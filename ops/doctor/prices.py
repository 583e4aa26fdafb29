"""The doctor's checks of price sources: whether each used source delivers, and what to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from brokers.types import Check
from common.clocks import market_now
from common.db.sql import rows
from common.db.stored_times import AHEAD_SECONDS
from common.web.formatting import age, join_first
from connections.exposure import is_monitored_sql
from connections.models import DataConnection
from connections.selectors import LIVE_KINDS, PARTIAL, SourceStatus, source_status, with_status
from ops.doctor.verdicts import CLOCK_REMEDY, failure, warning, well
from prices.selectors import newest_time


@dataclass(frozen=True, slots=True)
class BrokerSource:
    """A source whose prices come from a broker or are pushed. accounts: how many use it."""

    name: str
    accounts: int
    status: SourceStatus


def sources_sql() -> str:
    """Return the SQL that lists the price sources of monitored accounts."""
    return f"""
SELECT d.id, d.name, d.kind, count(*) AS accounts,
  (SELECT extract(epoch FROM clock_timestamp() - max(q.received_at))::float8
    FROM prices_latestquote q WHERE q.data_connection_id = d.id) AS received
FROM connections_executionconnection c JOIN connections_dataconnection d
  ON d.id = c.data_connection_id
WHERE {is_monitored_sql()} GROUP BY d.id, d.name, d.kind ORDER BY d.name
"""


def market_data() -> list[Check]:
    """Check the price sources of accounts that are active or have something open.

    Each file or recorded source has its own finding. Live sources with the same status share one.
    """
    found, accounts = [], dict[int, int]()
    for row in rows(sources_sql()):
        if row.kind in LIVE_KINDS:
            accounts[row.id] = row.accounts
        else:
            newest = newest_time(row.id)
            found.append(judge_source(row.name, row.kind, row.accounts, row.received, newest))
    by_status: dict[tuple[str, str], list[BrokerSource]] = {}
    now = datetime.now(UTC)
    for source in with_status(DataConnection.objects.filter(pk__in=accounts)).order_by(
        "name", "pk"
    ):
        broker_source = BrokerSource(source.name, accounts[source.pk], source_status(source, now))
        key = (broker_source.status.label, broker_source.status.remedy)
        by_status.setdefault(key, []).append(broker_source)
    found += [judge_brokers(sources) for sources in by_status.values()]
    return found or [well("market data", "No active account uses a price source yet.")]


def judge_source(
    name: str, kind: str, accounts: int, received: float | None, newest: datetime | None
) -> Check:
    """Judge a source that is not a broker's.

    received: seconds since the last quote arrived. newest: time of that quote on the market clock.
    """
    title = f"market data: {name}"
    remedy = "Start `manage.py prices`, and check the source's settings."
    if received is None or newest is None:
        return failure(title, f"No quotes yet; {accounts} accounts use this source.", remedy)
    if kind == "static":
        return well(title, "Constant quotes.")
    market_age = (market_now() - newest).total_seconds()
    detail = f"Last quote {age(received)} ago, {age(max(market_age, 0))} old by the market clock."
    if min(received, market_age) < -AHEAD_SECONDS:
        far = age(-min(received, market_age))
        return failure(title, f"Its last quote lies {far} in the future.", CLOCK_REMEDY)
    if max(received, market_age) > 60:
        return warning(title, detail, f"If the market is open: {remedy[0].lower()}{remedy[1:]}")
    return well(title, detail)


def judge_brokers(sources: Sequence[BrokerSource]) -> Check:
    """Judge sources of brokers that have the same status, in the same texts as their pages."""
    names, status = [source.name for source in sources], sources[0].status
    title, message = f"market data: {join_first(names)}", status.message
    if len(sources) > 1 and message:
        message = f"{names[0]}: {message}"
    if status.is_well:
        return well(title, message or "Prices arrive.")
    accounts = sum(source.accounts for source in sources)
    detail = f"{status.label}, for {accounts} account{'s' * (accounts != 1)}. {message}"
    remedy = status.remedy or "Open the page of the account that provides these prices."
    # A partial source still delivers some symbols, and accounts can trade them.
    judge = warning if status.label == PARTIAL else failure
    return judge(title, detail, remedy)
