"""Old hours of an account's history are reduced to one row a trading day; peaks survive."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest

from connections.accounts.history_retention import thin_history
from connections.loss_limits.figures import figures_of, limits_of
from connections.models import AccountHistory, AccountSnapshot, ExecutionConnection
from tests.connections import make
from tests.loss_limits import cash_flow_of, limit_of

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 1, 14, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
CUTOFF = timedelta(days=100)
MONEY = {"free_margin": D(1), "margin_used": D(0), "leverage": D(1), "position_mode": "HEDGING"}


@pytest.fixture
def account() -> ExecutionConnection:
    preset = make.preset(trading_day_zone="UTC", trading_day_start="17:00")
    return make.connection(preset=preset)


def period(
    account: ExecutionConnection, at: datetime, equity: int, peak: int = 0, currency: str = "USD"
) -> None:
    highest = D(max(peak, equity))
    AccountHistory.objects.create(
        connection=account, period_start=at, currency=currency, read_at=at, balance=D(equity),
        equity=D(equity), peak_balance=highest, peak_balance_at=at + HOUR / 2, peak_equity=highest,
        peak_equity_at=at + HOUR / 2,
    )  # fmt: skip


def kept(account: ExecutionConnection) -> list[tuple[datetime, D, D]]:
    found = AccountHistory.objects.filter(connection=account).order_by("period_start")
    return [(row.period_start, row.equity, row.peak_equity) for row in found]


def test_one_row_a_trading_day_stays_with_the_highest_values(account: ExecutionConnection) -> None:
    for hour, equity, peak in ((0, 100, 110), (4, 90, 95), (5, 95, 150), (6, 80, 0), (29, 70, 0)):
        period(account, NOON + hour * HOUR, equity, peak)
    assert thin_history(NOON + CUTOFF + 2 * DAY) == 2
    assert kept(account) == [  # noon, 17:00 of that day, 17:00 of the next
        (NOON, D(100), D(110)), (NOON + 5 * HOUR, D(95), D(150)), (NOON + 29 * HOUR, D(70), D(70)),
    ]  # fmt: skip
    row = AccountHistory.objects.get(period_start=NOON + 5 * HOUR)
    assert row.peak_equity_at == NOON + 5.5 * HOUR
    assert thin_history(NOON + CUTOFF + 2 * DAY) == 0


def test_newer_hours_stay(account: ExecutionConnection) -> None:
    for hour in range(3):
        period(account, NOON + hour * HOUR, 100)
    assert thin_history(NOON + CUTOFF + HOUR) == 0
    assert thin_history(NOON + CUTOFF + HOUR + timedelta(seconds=1)) == 1
    assert [at for at, *_ in kept(account)] == [NOON, NOON + 2 * HOUR]
    assert thin_history(NOON + CUTOFF + DAY) == 1


def test_rows_of_deposits_and_of_other_currencies_stay(account: ExecutionConnection) -> None:
    at = [NOON + minutes * timedelta(minutes=1) for minutes in (0, 20, 60, 120, 180)]
    cash_flow_of(account, at=at[1])
    cash_flow_of(account, at=at[3])
    for moment in at[:4]:
        period(account, moment, 100)
    period(account, at[4], 100, currency="EUR")
    assert thin_history(NOON + CUTOFF + 2 * DAY) == 1
    assert [start for start, *_ in kept(account)] == [at[0], at[1], at[3], at[4]]


def test_drawdown_of_all_time_is_the_same_afterwards(account: ExecutionConnection) -> None:
    """With a deposit between the highest values, which are of hours that go."""
    preset = account.preset
    assert preset is not None
    limit_of(preset, window="LIFETIME", resume="BY_HAND", basis="PEAK", unit="AMOUNT")
    for hour in range(60):
        period(account, NOON + hour * HOUR, 100 + hour % 7, 120 + (hour * 13) % 29)
    cash_flow_of(account, "40", at=NOON + 30 * HOUR + HOUR / 4)
    period(account, NOON + 30 * HOUR + HOUR / 4, 140, 171)
    now = NOON + CUTOFF + 9 * DAY
    AccountSnapshot.objects.create(
        connection=account, currency="USD", balance=D(100), equity=D(100), read_at=now, **MONEY
    )
    before = figures_of(limits_of([account.pk]), {}, now)
    assert thin_history(now) > 50
    assert figures_of(limits_of([account.pk]), {}, now) == before


def test_other_accounts_keep_their_rows(account: ExecutionConnection) -> None:
    other = make.connection()
    period(account, NOON, 100)
    period(other, NOON, 100)
    assert thin_history(NOON + CUTOFF + DAY) == 0
    assert len(kept(other)) == 1
