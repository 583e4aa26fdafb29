"""One reading of an account far from the last one changes nothing until a second confirms it."""

from collections import deque
from decimal import Decimal as D

import pytest
from django.template.loader import render_to_string

from brokers.types import AccountState, ConnectionSpec
from connections.accounts import outlying_readings
from connections.accounts.outlying_readings import LastReading, far_moves, last_readings
from connections.health import account_polling, connection_checks
from connections.models import (
    AccountHistory,
    AccountSnapshot,
    ExecutionConnection,
    LossLimit,
    TradingPause,
)
from execution.monitoring.loss_limits import apply_loss_limits
from tests.connections import make
from tests.connections.failing import age
from tests.connections.fake_brokers import Broker, account
from tests.loss_limits import limit_of

KPIS = "fillcast/balance_kpis.html"  # of an account's page, in portal and console
pytestmark = pytest.mark.usefixtures("inline_commits")


class Sequence(Broker):
    """A broker that states these equities one after the other, and the last one from then on."""

    def __init__(self, *equities: str) -> None:
        super().__init__()
        self.equities = deque(map(D, equities))

    async def account(self, spec: ConnectionSpec) -> AccountState:
        await super().account(spec)
        equity = self.equities.popleft() if len(self.equities) > 1 else self.equities[0]
        return account(equity=equity)


@pytest.fixture(autouse=True)
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlying_readings, "CONFIRM_SECONDS", 0.0)


@pytest.fixture
def row() -> ExecutionConnection:
    """An account with an equity of 990, whose limit is a fall of 5 percent."""
    preset = make.preset(**make.day_around_now())
    row = make.connection(sealed_credentials=None, preset=preset)
    limit_of(preset)
    read("990")
    return row


def read(*equities: str) -> tuple[int, int]:
    age(60)
    broker = Sequence(*equities)
    found = account_polling.refresh_due_accounts(older_than_seconds=0, adapter=broker)
    apply_loss_limits()
    return found


@pytest.mark.parametrize("wrong", ["0", "99", "9900"])
def test_one_wrong_equity_pauses_nothing_and_is_shown(row: ExecutionConnection, wrong: str) -> None:
    assert read(wrong, "991") == (1, 0)
    snapshot = AccountSnapshot.objects.get(connection=row)
    assert (snapshot.equity, snapshot.held_readings) == (D(991), 1)
    assert snapshot.last_held_reading.startswith(f"balance 1000, equity {wrong} USD after 1000 and")
    page = " ".join(render_to_string(KPIS, {"snapshot": snapshot}).split())
    assert "1 reading far from the one before held back: no second one confirmed it; last" in page
    assert snapshot.last_held_reading in page
    assert max(AccountHistory.objects.values_list("peak_equity", flat=True)) == 991
    read("989")
    assert not TradingPause.objects.exists()


def test_real_fall_acts_at_the_second_reading(row: ExecutionConnection) -> None:
    read("500", "480")
    snapshot = AccountSnapshot.objects.get(connection=row)
    assert (snapshot.equity, snapshot.held_readings) == (D(500), 0)
    assert TradingPause.objects.get().connection == row
    read("480")
    assert AccountSnapshot.objects.get().equity == 480


@pytest.mark.parametrize(
    ("unit", "maximum", "wrong"),
    [("PERCENT", "5", "935"), ("PERCENT", "1", "979"), ("AMOUNT", "50", "935")],
)
def test_wrong_equity_near_a_limit_pauses_nothing(
    row: ExecutionConnection, unit: str, maximum: str, wrong: str
) -> None:
    """It is less than a tenth away, and beyond the account's own limit."""
    LossLimit.objects.update(unit=unit, maximum=D(maximum))
    read("985")
    assert read(wrong, "985") == (1, 0)
    assert not TradingPause.objects.exists()
    assert AccountSnapshot.objects.get(connection=row).equity == 985
    read(wrong, wrong)
    assert TradingPause.objects.get().connection == row


def test_limit_of_another_account_asks_for_no_second_reading(row: ExecutionConnection) -> None:
    make.connection(sealed_credentials=None, preset=row.preset)
    row.preset = make.preset()
    row.save()
    assert last_readings([row.pk])[row.pk].far_share == D("0.1")


def test_readings_that_contradict_each_other_count_as_no_answer(row: ExecutionConnection) -> None:
    assert read("0", "99000") == (0, 1)
    assert AccountSnapshot.objects.get(connection=row).equity == 990
    assert not TradingPause.objects.exists()


def test_wrong_reading_of_a_connection_test_is_not_stored(row: ExecutionConnection) -> None:
    broker = Sequence("0", "990")
    checks = connection_checks.run_test(row.pk, adapter=broker)
    assert {check.result.value for check in checks} == {"ok"}
    snapshot = AccountSnapshot.objects.get(connection=row)
    assert (snapshot.equity, snapshot.held_readings) == (D(990), 1)


@pytest.mark.parametrize(
    ("now", "currency", "last", "far"),
    [
        ("899", "USD", "1000", {"equity": False}),
        ("900", "USD", "1000", {}),
        ("1100", "USD", "1000", {}),
        ("1101", "USD", "1000", {"equity": True}),
        ("0", "EUR", "1000", {}),  # another account
        ("1000", "USD", "0", {}),  # from nothing
    ],
)
def test_reading_is_far_by_more_than_a_tenth(
    row: ExecutionConnection, now: str, currency: str, last: str, far: dict[str, bool]
) -> None:
    state = account(equity=D(now), currency=currency)
    assert far_moves(state, LastReading(row.pk, "USD", D(1000), D(last))) == far
