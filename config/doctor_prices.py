"""What the doctor asks about prices: whether each used source tells them, and what helps."""

from datetime import UTC, datetime

from brokers.messages import Check
from common.clocks import market_now
from common.shown import age
from common.sql import rows
from config.doctor import failure, warning, well
from connections.faring import IN_PART, Faring, as_told, faring
from connections.models import DataConnection
from connections.open import is_watched
from prices.selectors import newest_time


def sources_sql() -> str:
    """The price sources of accounts that are watched."""
    return f"""
SELECT d.id, d.name, d.kind, count(*) AS accounts,
  (SELECT extract(epoch FROM clock_timestamp() - max(q.received_at))::float8
    FROM prices_latestquote q WHERE q.data_connection_id = d.id) AS received
FROM connections_executionconnection c JOIN connections_dataconnection d
  ON d.id = c.data_connection_id
WHERE {is_watched()} GROUP BY d.id, d.name, d.kind ORDER BY d.name
"""


def market_data() -> list[Check]:
    """Each price source that an account uses which is switched on or has something open."""
    found = []
    for row in rows(sources_sql()):
        if row.kind == DataConnection.Kind.BROKER:
            source = as_told(DataConnection.objects.all()).get(pk=row.id)
            found.append(judge_broker(row.name, row.accounts, faring(source, datetime.now(UTC))))
        else:
            newest = newest_time(row.id)
            found.append(judge_source(row.name, row.kind, row.accounts, row.received, newest))
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


def judge_broker(name: str, accounts: int, fares: Faring) -> Check:
    """One that a broker tells by an account: how it fares, in the words of its page."""
    title = f"market data: {name}"
    if fares.is_well:
        return well(title, fares.said or "It tells.")
    detail = f"{fares.word}, for {accounts} account{'s' * (accounts != 1)}. {fares.said}"
    remedy = fares.to_do or "Look at the page of the account that tells it."
    # Where something is told the rest may be traded.
    judge = warning if fares.word == IN_PART else failure
    return judge(title, detail, remedy)
