"""Equity, execution and history where two sources meet: readings, flows, currencies, archive."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from analytics.history.rows import HISTORY, HistoryFilter
from analytics.models import SignalQuality
from analytics.quality.signals import SignalScope, execution_sums, signal_executions
from analytics.results.equity import account_equity
from analytics.selectors import execution_quality
from connections.models import AccountHistory, AccountSnapshot, CashFlow, ExecutionConnection
from connections.selectors import EquityReading, equity_readings
from execution.models import ArchivedOrder, Order, Status
from positions.models import ExecutionPosition
from signals.models import Signal
from tests.analytics import factories
from tests.analytics.trading_days import EACH_DAY, INSTANT, Day

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 11, 12, tzinfo=UTC)
HOUR, NOTHING = timedelta(hours=1), timedelta(0)
WEDNESDAY = date(2026, 3, 11)


def account(**fields: Any) -> ExecutionConnection:
    """An account that was read last at noon, with 100."""
    made = factories.connection(factories.user(), **fields)
    factories.snapshot(made, "USD")
    AccountSnapshot.objects.filter(connection=made).update(
        read_at=NOON, equity=D(100), balance=D(100)
    )
    return made


def read(of: ExecutionConnection, at: datetime, equity: int, currency: str = "USD") -> None:
    value = D(equity)
    AccountHistory.objects.create(
        connection=of, period_start=at, currency=currency, read_at=at, balance=value, equity=value,
        peak_balance=value, peak_balance_at=at, peak_equity=value, peak_equity_at=at,
    )  # fmt: skip


def readings(of: ExecutionConnection, day: date = WEDNESDAY) -> list[EquityReading]:
    return equity_readings([of.pk], day, day)


@EACH_DAY
def test_first_reading_of_a_day_opens_it_and_that_of_the_next_one_closes_it(day: Day) -> None:
    made = account(zone=day.zone, day_start=day.starts_at)
    for n, (at, _) in enumerate(day.moments()):
        read(made, at, n)
    AccountSnapshot.objects.update(read_at=day.end + HOUR)
    found = [(one.at, one.day) for one in readings(made, day.date) if one.is_first_of_day]
    assert found == [(day.start, day.date), (day.end, day.date + timedelta(days=1))]


@pytest.mark.parametrize(
    ("at", "currency", "equities"),
    [
        (NOON - INSTANT, "USD", [50, 100]),
        (NOON, "USD", [100]),  # the state that is also the latest one counts once
        (NOON + INSTANT, "USD", [100]),
        (NOON - HOUR, "EUR", [100]),  # other money is no reading of it
    ],
)
def test_history_and_the_latest_state_meet(
    at: datetime, currency: str, equities: list[int]
) -> None:
    made = account()
    read(made, at, 50, currency)
    assert [int(one.equity) for one in readings(made)] == equities


@pytest.mark.parametrize(
    ("at", "deposits"),
    [
        (NOON - HOUR, []),  # the reading before has it
        (NOON - HOUR + INSTANT, [7]),
        (NOON, [7]),  # the reading after has it
        (NOON + INSTANT, []),
    ],
)
def test_deposit_belongs_to_the_reading_that_has_it(at: datetime, deposits: list[int]) -> None:
    made = account()
    read(made, NOON - 2 * HOUR, 90)
    read(made, NOON - HOUR, 93)
    CashFlow.objects.create(connection=made, at=at, amount=7, origin="OWNER")
    found = [int(one.deposits) for one in readings(made) if one.at > NOON - HOUR]
    assert [value for value in found if value] == deposits
    total = sum(one.deposits for one in readings(made))
    assert total == (0 if at > NOON else 7), "each deposit until now counts once"


@pytest.mark.parametrize(("until", "dates"), [(-1, []), (0, [WEDNESDAY]), (1, [WEDNESDAY])])
def test_latest_reading_ends_the_last_day_of_the_period(until: int, dates: list[date]) -> None:
    made = account()
    read(made, NOON - HOUR, 90)
    end = WEDNESDAY + timedelta(days=until)
    found = account_equity(
        equity_readings([made.pk], WEDNESDAY, WEDNESDAY), start=WEDNESDAY, end=end
    )
    assert found is not None
    assert [(day.last, day.gain, day.is_ended) for day in found.days] == [
        (day, D(10), False) for day in dates
    ]


def signal_of(owner: Any, at: datetime) -> Signal:
    (made,) = factories.signals(owner, 1)
    Signal.objects.filter(pk=made.pk).update(published_at=at)
    return made


def filled(of: ExecutionConnection, signal: Signal, at: datetime, **fields: Any) -> Order:
    return Order.objects.create(
        connection=of, signal=signal, pair="EUR/USD", side="BUY", order_type="MARKET", leg="entry",
        time_in_force="GTC", status=Status.FILLED, quantity=1, filled_quantity=1, created_at=at,
        avg_fill_price=D("1.1001"), expected_price=D("1.1"), slippage_pips=1, slippage_unit="PIPS",
        submitted_at=at, filled_at=at, client_order_id=f"c{signal.pk}", **fields,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("moved", "number"), [(-INSTANT, 0), (NOTHING, 1), (HOUR - INSTANT, 1), (HOUR, 0)]
)
def test_quality_is_of_entries_from_the_start_until_before_the_end(
    moved: timedelta, number: int
) -> None:
    made = account()
    filled(made, signal_of(made.user, NOON), NOON + moved)
    found = execution_quality(NOON, NOON + HOUR)
    assert [row.candidates for row in found if row.kind is None] == [1] * number


def scope(of: ExecutionConnection) -> SignalScope:
    return SignalScope([of.pk], WEDNESDAY, WEDNESDAY, is_paper=True)


def test_executions_are_of_the_default_trading_days() -> None:
    made = account(zone="Asia/Tokyo", day_start=time(0))
    start = datetime.fromisoformat("2026-03-10T21:00:00Z")
    end = datetime.fromisoformat("2026-03-11T21:00:00Z")
    for at in (start - INSTANT, start, end - INSTANT, end):
        filled(made, signal_of(made.user, at), at)
    assert [one.published_at for one in signal_executions(scope(made))] == [end - INSTANT, start]


def test_executions_published_at_one_time_are_paged_without_gap_or_repetition() -> None:
    made = account()
    expected = [filled(made, signal_of(made.user, NOON), NOON).signal_id for _ in range(3)][::-1]
    found: list[int] = []
    while page := signal_executions(scope(made), before=found[-1] if found else None, limit=1):
        found += [one.signal_id for one in page]
    assert found == expected


@pytest.mark.parametrize(
    ("persons", "unit", "others", "slippage", "bps"),
    [
        (5, "PIPS", 0, None, None),  # four others would differ
        (6, "PIPS", 5, D(3), D(2)),
        (6, "POINTS", 5, None, D(2)),  # another unit is not comparable, basis points are
        (6, "", 5, None, D(2)),
    ],
)
def test_median_is_shown_of_enough_others_in_the_same_unit(
    persons: int, unit: str, others: int, slippage: D | None, bps: D | None
) -> None:
    made = account()
    signal = signal_of(made.user, NOON)
    filled(made, signal, NOON)
    for is_paper in (True, False):
        SignalQuality.objects.create(
            signal=signal, is_paper=is_paper, persons=persons if is_paper else 50, unit=unit,
            slippage=3, bps=2 if is_paper else 9,
        )  # fmt: skip
    (one,) = signal_executions(scope(made))
    assert (one.others, one.all_slippage, one.all_bps) == (others, slippage, bps)
    assert execution_sums(scope(made)).compared == (1 if bps else 0)


def archived(of: ExecutionConnection, signal: Signal, pk: int, at: datetime) -> None:
    ArchivedOrder.objects.create(
        id=pk, signal=signal, created_at=at, done_at=at, connection=of, status=Status.SKIPPED,
        pair="EUR/USD", side="BUY", order_type="MARKET",
    )  # fmt: skip


def test_history_has_archived_and_live_orders_in_one_order() -> None:
    """The archive has orders before, between and behind those whose rows are still there."""
    made = account()
    owner, ago = made.user, NOON - timedelta(days=500)
    for pk in (1001, 1003, 1010):
        filled(made, signal_of(owner, ago), ago, pk=pk)
    for pk in (1000, 1002, 1005, 1020):
        archived(made, signal_of(owner, ago), pk, ago)
    expected = [1020, 1010, 1005, 1003, 1002, 1001, 1000]
    table = HISTORY["orders"]
    assert owner is not None
    for size in (1, 2, 4, 10):
        found: list[int] = []
        while page := table.page(
            owner, HistoryFilter(before=found[-1] if found else None), limit=size
        ):
            found += [row["key"] for row in page]
        assert found == expected, f"{size} on a page"


@pytest.mark.parametrize(
    ("at", "is_found"),
    [
        ("2026-03-10T23:59:59.999999Z", False),
        ("2026-03-11T00:00:00Z", True),
        ("2026-03-11T23:59:59.999999Z", True),
        ("2026-03-12T00:00:00Z", False),
    ],
)
@pytest.mark.parametrize("name", ["orders", "trades", "signals"])
def test_history_of_a_day_has_its_first_moment_and_not_the_next_ones(
    name: str, at: str, is_found: bool
) -> None:
    made = account()
    moment = datetime.fromisoformat(at)
    signal = signal_of(made.user, moment)
    filled(made, signal, moment)
    ExecutionPosition.objects.bulk_create(
        [factories.trade(made, signal, closed_at=moment, pnl=D(1))]
    )
    wanted = HistoryFilter(since=WEDNESDAY, until=WEDNESDAY)
    assert made.user is not None
    assert bool(HISTORY[name].page(made.user, wanted, limit=5)) is is_found
