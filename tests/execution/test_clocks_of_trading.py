"""Of which clock each time is that trading stores: the market's, or the machine's.

Market time stands in 2014 here. No statement takes the time at which its transaction began: what
another session has committed since would seem to be later.
"""

import asyncio
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pytest
from django.db import transaction

from analytics.orders.working import WorkingOrder
from common.clocks import machine_time, set_market_clock
from common.db.sql import database_now, rows
from connections.models import AccountSnapshot, ExecutionConnection
from execution.monitoring import broker_positions
from execution.monitoring.broker_positions import DueRead
from execution.monitoring.loss_limits import apply_loss_limits
from execution.order_retries import retry_order
from portal.selectors.positions import PositionView
from signals.models import Feed
from tests.analytics.trading_days import stop_clock
from tests.execution import factories
from tests.execution.halfway import HALFWAY, entry, waiting
from tests.loss_limits import limit_of

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).resolve().parents[2]
MARKET = datetime(2014, 5, 2, 12, tzinfo=UTC)
MARKET_TIMES = {
    "execution_fill.time",
    "execution_order.retried_at",
    "positions_executionposition.closed_at",
    "positions_executionposition.opened_at",
}
"""The columns of market time. All other times that trading writes here are the machine's."""
COLUMNS = """
SELECT table_name::text AS of, column_name::text AS name FROM information_schema.columns
WHERE table_schema = 'public' AND data_type = 'timestamp with time zone'
  AND table_name ~ '^(execution|positions)_' ORDER BY 1, 2
"""
CLOCK = "CASE WHEN {0}.{1} < '2016-01-01' THEN 'market' ELSE 'machine' END"


@pytest.fixture(autouse=True)
def clock() -> Iterator[None]:
    yield
    set_market_clock(None)


def retried(feed: Feed) -> None:
    waiting(feed)
    factories.force("UPDATE execution_order SET status = 'FAILED', done_at = clock_timestamp()")
    retry_order(entry().pk)


STATES: dict[str, Callable[[Feed], None]] = {**HALFWAY, "PENDING, retried": retried}


def clocks_of_times() -> set[tuple[str, str]]:
    """Return the columns that have a time, each with its clock."""
    union = " UNION ".join(
        f"SELECT '{one.of}.{one.name}' AS name, {CLOCK.format(one.of, one.name)} AS clock"
        f" FROM {one.of} WHERE {one.name} IS NOT NULL"
        for one in rows(COLUMNS)
    )
    return {(row.name, row.clock) for row in rows(union)}


@pytest.mark.usefixtures("alice")
def test_each_time_that_trading_stores_is_of_its_clock(feed: Feed) -> None:
    stop_clock(MARKET)
    wrong, seen = list[str](), set[str]()
    for state, make in STATES.items():
        savepoint = transaction.savepoint()
        make(feed)
        for column, found in clocks_of_times():
            seen.add(column)
            expected = "market" if column in MARKET_TIMES else "machine"
            if found != expected:
                wrong.append(f"{state}: {column} is of the {found}, expected the {expected}")
        transaction.savepoint_rollback(savepoint)
    wrong += [f"no state has {column}" for column in sorted(MARKET_TIMES - seen)]
    assert not wrong, "\n".join([f"{len(wrong)} wrong:", *wrong])


def test_no_statement_takes_the_start_of_its_transaction() -> None:
    of_transaction = re.compile(
        r"(?<![.\w])(now|NOW)\(\)|(?i:current_timestamp|transaction_timestamp|localtimestamp)"
    )  # Django's Now() is the start of the statement
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for app in ROOT.glob("*/apps.py")
        for path in app.parent.rglob("*.py")
        if "migrations" not in path.parts
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if of_transaction.search(line)
    ]
    assert not found, "use clock_timestamp() or statement_timestamp():\n" + "\n".join(found)


def test_prices_grow_old_by_the_markets_clock() -> None:
    stop_clock(MARKET)
    for age, is_late in ((timedelta(minutes=5), False), (timedelta(minutes=6), True)):
        position = SimpleNamespace(price_time=MARKET - age)
        order = SimpleNamespace(market_time=MARKET - age)
        assert PositionView(position).is_priced_late is is_late
        assert WorkingOrder(order).is_priced_late is is_late


def test_positions_are_read_as_of_before_the_broker_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What closes while the broker answers is not in the answer, and must count as later."""
    asked_at = list[float]()

    async def positions(_: Any) -> list[Any]:
        asked_at.append(machine_time())
        await asyncio.sleep(0.001)
        return []

    monkeypatch.setattr(
        broker_positions, "adapter_for", lambda _: SimpleNamespace(positions=positions)
    )
    monkeypatch.setattr(broker_positions, "spec_from_row", lambda _: None)
    row = cast("DueRead", SimpleNamespace(began=MARKET, type="paper"))
    claimed_at = machine_time()
    held = asyncio.run(broker_positions._read(row, claimed_at))
    assert held.began - MARKET <= timedelta(seconds=asked_at[0] - claimed_at)


def test_limits_count_as_checked_when_their_check_began(
    alice: ExecutionConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A position that closes during the check is not in its sums, so the account is due again."""
    limit_of(alice.preset)
    execute, read_at = psycopg.Cursor.execute, list[datetime]()

    def executed(cursor: Any, query: Any, *rest: Any, **more: Any) -> Any:
        if "connections_losslimit l ON" in str(query) and not read_at:
            read_at.append(MARKET)  # until it is known: this statement comes here, too
            read_at[0] = database_now()
        return execute(cursor, query, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(psycopg.Cursor, "execute", executed)
        apply_loss_limits()
    checked_at = AccountSnapshot.objects.get(connection=alice).limits_checked_at
    assert read_at, "no limit was read"
    assert checked_at is not None
    assert checked_at <= read_at[0]
