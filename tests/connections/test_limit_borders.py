"""Limits, pauses and subscriptions at their borders: a window's first moment, an end, an age."""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from brokers.types import AccountState, PositionMode
from common.clocks import set_market_clock
from common.reason_codes import Code
from connections import services
from connections.loss_limits.figures import (
    FLOWS_WAIT,
    AppliedLimit,
    due_accounts,
    figures_of,
    limits_of,
)
from connections.loss_limits.pauses import end_due_pauses, start_pauses
from connections.loss_limits.rules import Breach, window_end, window_start
from connections.models import (
    AccountHistory,
    AccountSnapshot,
    CashFlow,
    ExecutionConnection,
    TradingPause,
)
from connections.trading_day import DayRule
from positions.closed_results import ClosedRequest, closed_sums
from positions.models import ExecutionPosition
from tests.analytics import factories
from tests.analytics.trading_days import INSTANT, stop_clock
from tests.connections import make
from tests.loss_limits import cash_flow_of, limit_of, pause_of

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 1, 14, 12, tzinfo=UTC)  # a Wednesday
START = datetime(2026, 1, 13, 22, tzinfo=UTC)  # of its trading day
HOUR, MINUTE, NOTHING = timedelta(hours=1), timedelta(minutes=1), timedelta(0)


@pytest.fixture(autouse=True)
def clock() -> Iterator[None]:
    """Market time is noon and stands."""
    stop_clock(NOON)
    yield
    set_market_clock(None)


def limited(**fields: Any) -> ExecutionConnection:
    """An account with a limit of 500 of its equity in a trading day, read at noon with 1,000."""
    made = make.ready(make.connection())
    limit_of(made.preset, **{"unit": "AMOUNT", "maximum": D(500), **fields})
    AccountSnapshot.objects.filter(connection=made).update(read_at=NOON)
    return made


def of(account: ExecutionConnection) -> AppliedLimit:
    (limit,) = limits_of([account.pk])
    return limit


def state(account: ExecutionConnection, at: datetime, value: int, currency: str = "USD") -> None:
    amount = D(value)
    AccountHistory.objects.create(
        connection=account, period_start=at, currency=currency, read_at=at, balance=amount,
        equity=amount, peak_balance=amount, peak_balance_at=at, peak_equity=amount,
        peak_equity_at=at,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("at", "currency", "opening"),
    [
        (START - INSTANT, "USD", 900),  # the day before
        (START, "USD", 2_000),
        (START + INSTANT, "USD", 2_000),
        (START, "EUR", 900),  # other money
    ],
)
def test_window_has_its_first_moment_in_its_own_currency(
    at: datetime, currency: str, opening: int
) -> None:
    account = limited(basis="PEAK")
    state(account, at, 2_000, currency)
    state(account, NOON - HOUR, 900)
    (found,) = figures_of([of(account)], {}, NOON)
    assert (found.opening_equity, found.peak_equity) == (D(opening), D(opening))


@pytest.mark.parametrize(
    ("at", "added"),
    [
        (START, 0),  # the first state has it
        (START + INSTANT, 70),
        (NOON, 70),  # the last state has it
        (NOON + INSTANT, 0),
    ],
)
def test_deposit_counts_between_the_first_and_the_last_state(at: datetime, added: int) -> None:
    account = limited(basis="PEAK")
    AccountSnapshot.objects.update(read_at=NOON)
    state(account, START, 1_000)
    cash_flow_of(account, "70", at=at)
    (found,) = figures_of([of(account)], {}, NOON)
    expected = D(1_000 + added)
    assert (found.opening_equity, found.peak_equity) == (expected, expected)
    CashFlow.objects.update(is_credit=True)
    (found,) = figures_of([of(account)], {}, NOON)
    assert (found.opening_equity, found.opening_balance) == (expected, D(1_000))


@pytest.mark.parametrize(
    ("started", "resumed", "since"),
    [
        (None, None, START),
        (START - INSTANT, START - INSTANT, START),
        (START + INSTANT, None, START + INSTANT),
        (None, START + MINUTE, START + MINUTE),
        (START + HOUR, START + MINUTE, START + HOUR),
    ],
)
def test_losses_count_from_the_latest_beginning(
    started: datetime | None, resumed: datetime | None, since: datetime
) -> None:
    account = limited(started_at=started)
    if resumed is not None:
        limit_id = of(account).limit_id
        pause_of(account, limit_id=limit_id, ended_at=resumed, is_resumed_by_hand=True)
        pause_of(account, limit_id=limit_id, ended_at=NOON)  # ended by rule: does not begin again
    assert of(account).since(NOON) == since


@pytest.mark.parametrize(
    ("waited", "is_on_hold"), [(FLOWS_WAIT - INSTANT, True), (FLOWS_WAIT, False)]
)
def test_limit_waits_for_deposits_so_long_and_no_longer(
    waited: timedelta, is_on_hold: bool
) -> None:
    limit = of(limited())._replace(flows_missing_since=NOON - waited, read_at=NOON)
    assert limit.is_on_hold is is_on_hold
    assert not limit._replace(measure="REALIZED_LOSS").is_on_hold


@pytest.mark.parametrize(
    ("window", "at", "start", "end"),
    [
        ("WEEK_TO_DATE", "2026-03-01T15:00Z", "2026-03-01T15:00Z", "2026-03-08T15:00Z"),
        ("WEEK_TO_DATE", "2026-03-01T14:59Z", "2026-02-22T15:00Z", "2026-03-01T15:00Z"),
        ("MONTH_TO_DATE", "2026-02-28T15:00Z", "2026-02-28T15:00Z", "2026-03-31T15:00Z"),
        ("MONTH_TO_DATE", "2026-02-28T14:59Z", "2026-01-31T15:00Z", "2026-02-28T15:00Z"),
        ("QUARTER_TO_DATE", "2026-03-31T15:00Z", "2026-03-31T15:00Z", "2026-06-30T15:00Z"),
        ("QUARTER_TO_DATE", "2026-03-31T14:59Z", "2025-12-31T15:00Z", "2026-03-31T15:00Z"),
        ("YEAR_TO_DATE", "2026-12-31T15:00Z", "2026-12-31T15:00Z", "2027-12-31T15:00Z"),
        ("YEAR_TO_DATE", "2026-12-31T14:59Z", "2025-12-31T15:00Z", "2026-12-31T15:00Z"),
    ],
)
def test_longer_windows_begin_with_the_days_of_the_preset(
    window: str, at: str, start: str, end: str
) -> None:
    """In Tokyo a day that begins at midnight does so at 15:00 UTC."""
    tokyo, moment = DayRule("Asia/Tokyo", time(0)), datetime.fromisoformat(at)
    found = window_start(window, moment, tokyo), window_end(window, moment, tokyo)
    assert found == (datetime.fromisoformat(start), datetime.fromisoformat(end))


def closed(account: ExecutionConnection, at: datetime, *results: int) -> list[ExecutionPosition]:
    assert account.user is not None
    signals = factories.signals(account.user, len(results))
    return ExecutionPosition.objects.bulk_create(
        factories.trade(account, signal, closed_at=at + n * INSTANT, pnl=D(made))
        for n, (signal, made) in enumerate(zip(signals, results, strict=True))
    )


def test_closed_trades_count_from_the_first_moment_on() -> None:
    account = make.connection()
    closed(account, START - INSTANT, -1, -2, -4)
    found = closed_sums([ClosedRequest(account.pk, START, None)])[0]
    assert (found.net, found.streak) == (D(-6), 2)


@pytest.mark.parametrize(
    ("results", "opened", "streak"),
    [
        ((-1, -1, -1), None, 3),
        ((-1, 0, -1), None, 1),  # a trade that broke even ends a streak
        ((5, -1, -1), None, 2),
        ((-1, -1, -1), 2, 2),  # open in part: neither a loss yet nor an end
        ((-1, 9, -1), 1, 2),
    ],
)
def test_streak_leaves_out_what_is_open_in_part(
    results: tuple[int, ...], opened: int | None, streak: int
) -> None:
    account = make.connection()
    made = closed(account, NOON - HOUR, *results)
    if opened is not None:
        rest = factories.trade(account, made[opened].signal, closed_at=NOON, pnl=D(0))
        rest.quantity, rest.closed_at, rest.entry_leg = D(1), None, "entry-2"
        rest.save()
    assert closed_sums([ClosedRequest(account.pk, START, None)])[0].streak == streak


@pytest.mark.parametrize(("late", "number"), [(-INSTANT, 0), (NOTHING, 1), (INSTANT, 1)])
def test_pause_ends_at_its_end(late: timedelta, number: int) -> None:
    pause = pause_of(make.connection(), until=NOON)
    stop_clock(NOON + late)
    assert end_due_pauses() == number
    pause.refresh_from_db()
    assert pause.ended_at == (NOON if number else None)


def test_limit_pauses_again_after_its_pause_has_ended() -> None:
    account = limited()
    breach = Breach(Code.LOSS_LIMIT, D(500), D(500))
    assert len(start_pauses([(of(account), breach)], now=NOON)) == 1
    assert start_pauses([(of(account), breach)], now=NOON) == []
    TradingPause.objects.update(ended_at=NOON)
    assert len(start_pauses([(of(account), breach)], now=NOON)) == 1


@pytest.mark.parametrize(
    ("checked", "is_due"), [(timedelta(seconds=5) - INSTANT, True), (timedelta(seconds=5), False)]
)
def test_account_is_checked_until_a_close_is_committed_for_sure(
    checked: timedelta, is_due: bool
) -> None:
    account = limited()
    AccountSnapshot.objects.update(limits_checked_for=NOON, limits_checked_at=NOON + checked)
    found = due_accounts({account.pk: NOON}, limit=5)
    assert [row.connection_id for row in found] == [account.pk] * is_due


def read(account: ExecutionConnection, at: datetime, equity: int) -> None:
    reported = AccountState(
        account=account.account, currency="USD", balance=D(100), equity=D(equity),
        margin_used=D(0), free_margin=D(equity), leverage=D(30),
        position_mode=PositionMode.HEDGING, time=at,
    )  # fmt: skip
    services.store_account_state(account.pk, reported, read_at=at)


@pytest.mark.parametrize("what", ["deposit", "resumption", "start of a limit"])
@pytest.mark.parametrize(("moved", "periods"), [(-INSTANT, 2), (NOTHING, 2), (INSTANT, 1)])
def test_period_begins_with_what_comes_before_or_with_a_state(
    what: str, moved: timedelta, periods: int
) -> None:
    set_market_clock(None)
    account = make.connection()
    read(account, NOON + MINUTE, 100)
    at = NOON + 2 * MINUTE
    if what == "deposit":
        cash_flow_of(account, at=at + moved)
    elif what == "resumption":
        pause_of(account, ended_at=at + moved, is_resumed_by_hand=True)
    else:
        limit_of(account.preset, started_at=at + moved)
    read(account, at, 90)
    starts = AccountHistory.objects.filter(connection=account).values_list("period_start")
    assert len(starts) == periods


@pytest.mark.parametrize(("moved", "equity"), [(-INSTANT, 100), (NOTHING, 100), (INSTANT, 90)])
def test_state_replaces_only_an_older_one(moved: timedelta, equity: int) -> None:
    account = make.connection()
    read(account, NOON, 100)
    read(account, NOON + moved, 90)
    assert AccountSnapshot.objects.get(connection=account).equity == equity
