"""The history of balance and equity: its periods, first and highest values, and cash flows."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest

from brokers.types import AccountState, BrokerCashFlow, PositionMode
from common.clocks import set_market_clock
from common.errors import InvalidInputError, NotAllowedError
from connections import services
from connections.models import AccountHistory, AccountSnapshot, CashFlow, ExecutionConnection
from tests.analytics.trading_days import stop_clock
from tests.connections import make
from tests.loss_limits import cash_flow_of, limit_of, pause_of

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 1, 14, 12, tzinfo=UTC)


def read(account: ExecutionConnection, equity: str, at: datetime, **fields: str) -> None:
    state = AccountState(
        account=account.account, currency=fields.get("currency", "USD"),
        balance=D(fields.get("balance", equity)), equity=D(equity), margin_used=D(0),
        free_margin=D(equity), leverage=D(30), position_mode=PositionMode.HEDGING, time=at,
    )  # fmt: skip
    services.store_account_state(account.pk, state, read_at=at)


def periods(account: ExecutionConnection) -> list[tuple[datetime, D, D]]:
    rows = AccountHistory.objects.filter(connection=account).order_by("period_start")
    return [(row.period_start, row.equity, row.peak_equity) for row in rows]


def test_first_value_of_an_hour_stays_and_its_peak_rises() -> None:
    account = make.connection()
    for minute, equity in ((3, "100"), (10, "130"), (20, "90"), (59, "110"), (60, "95")):
        read(account, equity, NOON + timedelta(minutes=minute), balance="100")
    assert periods(account) == [
        (NOON, D(100), D(130)),
        (NOON + timedelta(hours=1), D(95), D(95)),
    ]
    row = AccountHistory.objects.get(period_start=NOON)
    assert row.read_at == NOON + timedelta(minutes=3)
    assert row.peak_equity_at == NOON + timedelta(minutes=10)


def test_trading_day_begins_a_period_within_an_hour() -> None:
    preset = make.preset(trading_day_zone="UTC", trading_day_start="12:30")
    account = make.connection(preset=preset)
    for minute, equity in ((10, "100"), (29, "105"), (31, "90")):
        read(account, equity, NOON + timedelta(minutes=minute), balance="100")
    assert periods(account) == [
        (NOON, D(100), D(105)),
        (NOON + timedelta(minutes=30), D(90), D(90)),
    ]


def test_deposit_resume_and_start_of_a_limit_begin_periods() -> None:
    preset = make.preset()
    account = make.connection(preset=preset)
    at = [NOON + timedelta(minutes=minute) for minute in (10, 20, 30)]
    cash_flow_of(account, at=at[0])
    pause_of(account, ended_at=at[1], is_resumed_by_hand=True)
    limit_of(preset, started_at=at[2])
    for minute in (5, 15, 25, 35):
        read(account, "100", NOON + timedelta(minutes=minute))
    assert [start for start, *_ in periods(account)] == [NOON, *at]


@pytest.mark.parametrize(
    ("balance", "equity", "begins"),
    [
        ("1500", "1490", True),  # a deposit
        ("400", "410", True),  # a withdrawal
        ("1500", "1005", False),  # a trade was closed with a gain that the equity had already
        ("1000", "1500", False),  # a price has moved
        ("1009", "1009", False),  # below 1 %
    ],
)
def test_state_that_may_show_a_flow_begins_a_period_and_the_next_ones_stay_in_it(
    balance: str, equity: str, begins: bool
) -> None:
    account = make.connection()
    read(account, "1000", NOON + timedelta(minutes=5))
    for minute in (10, 11):
        read(account, equity, NOON + timedelta(minutes=minute), balance=balance)
    starts = [start for start, *_ in periods(account)]
    assert starts == [NOON, *[NOON + timedelta(minutes=10)] * begins]


def test_another_currency_begins_a_period() -> None:
    account = make.connection()
    for minute, currency in ((5, "USD"), (10, "EUR"), (15, "EUR")):
        read(account, "100", NOON + timedelta(minutes=minute), currency=currency)
    rows = AccountHistory.objects.order_by("period_start")
    assert [(row.period_start, row.currency) for row in rows] == [
        (NOON, "USD"), (NOON + timedelta(minutes=10), "EUR"),
    ]  # fmt: skip


def test_pause_that_ended_by_rule_begins_no_period() -> None:
    account = make.connection()
    pause_of(account, ended_at=NOON + timedelta(minutes=20))
    read(account, "100", NOON + timedelta(minutes=25))
    assert [start for start, *_ in periods(account)] == [NOON]


def test_read_that_began_earlier_leaves_the_history_as_it_is() -> None:
    account = make.connection()
    read(account, "100", NOON + timedelta(minutes=5))
    read(account, "999", NOON + timedelta(minutes=4))
    assert periods(account) == [(NOON, D(100), D(100))]
    assert AccountSnapshot.objects.get(connection=account).equity == D(100)


def test_states_of_one_moment_are_of_one_period() -> None:
    """A market clock that stands, or is slow: the second state is not of the period before."""
    account = make.connection()
    read(account, "1000", NOON + timedelta(minutes=5))
    stop_clock(NOON + timedelta(minutes=10))
    try:
        for second, equity in enumerate(("1500", "1600")):
            read(account, equity, NOON + timedelta(minutes=10, seconds=second), balance="1500")
    finally:
        set_market_clock(None)
    assert periods(account) == [
        (NOON, D(1000), D(1000)),
        (NOON + timedelta(minutes=10), D(1500), D(1600)),
    ]


def test_many_accounts_are_stored_at_once() -> None:
    accounts = [make.connection() for _ in range(3)]
    for account in accounts:
        read(account, "100", NOON)
    assert AccountHistory.objects.count() == 3


def test_owner_records_a_withdrawal() -> None:
    account = make.connection()
    flow = services.record_cash_flow(account.pk, amount=D(-250), by=account.user, note="rent")
    assert (flow.amount, flow.origin, flow.created_by) == (D(-250), "OWNER", account.user)


def test_invalid_or_foreign_cash_flow_is_refused() -> None:
    account = make.connection()
    with pytest.raises(InvalidInputError) as zero:
        services.record_cash_flow(account.pk, amount=D(0), by=account.user)
    assert zero.value.field == "amount"
    late = datetime.now(UTC) + timedelta(minutes=1)
    with pytest.raises(InvalidInputError) as future:
        services.record_cash_flow(account.pk, amount=D(1), by=account.user, at=late)
    assert future.value.field == "at"
    with pytest.raises(NotAllowedError):
        services.record_cash_flow(account.pk, amount=D(1), by=make.user("bob"))
    assert not CashFlow.objects.exists()


def test_flow_that_the_broker_reports_twice_is_stored_once() -> None:
    account = make.connection()
    flows = [
        (account.pk, NOON, BrokerCashFlow("deal 7", D(500), NOON)),
        (account.pk, NOON, BrokerCashFlow("deal 8", D(-50), NOON)),
    ]
    assert services.store_cash_flows(flows) == 2
    assert services.store_cash_flows(flows) == 0
    assert services.store_cash_flows([]) == 0
    assert sorted(flow.amount for flow in CashFlow.objects.all()) == [D(-50), D(500)]
