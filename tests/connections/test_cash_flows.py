"""When a broker's deposits and withdrawals count, and what is known while they cannot be read."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from uuid import uuid4

import pytest

from brokers.account_capabilities import Capabilities
from brokers.base import ReadFailed
from brokers.paper.capabilities import capabilities_of
from brokers.types import AccountState, BrokerCashFlow, ConnectionSpec
from common.reason_codes import Code
from connections.accounts.cash_flows import AccountFlows, FlowRequest, effective_times
from connections.health import account_polling, connection_checks
from connections.loss_limits.figures import figures_of, limits_of
from connections.models import AccountSnapshot, CashFlow, CashFlowRead, ExecutionConnection
from connections.selectors import flow_note
from tests.connections import make
from tests.connections.fake_brokers import Broker, account
from tests.loss_limits import limit_of

NOON = datetime(2026, 1, 14, 12, tzinfo=UTC)
A_MINUTE = timedelta(minutes=1)
AFTER = NOON + timedelta(microseconds=1)


def flow(amount: int | str, at: datetime, reference: str = "1") -> BrokerCashFlow:
    return BrokerCashFlow(reference, D(amount), at)


@pytest.mark.parametrize(
    ("listed_at", "amount", "equity", "counts_from"),
    [
        (NOON + timedelta(seconds=30), -3000, 7000, NOON + timedelta(seconds=30)),
        # At the moment of the previous state, which did not list it.
        (NOON, -3000, 7000, AFTER),
        # The equity has changed by half of it, which shows nothing: it was listed late.
        (NOON - A_MINUTE, -3000, 8500, NOON - A_MINUTE),
        (NOON - A_MINUTE, -3000, 8499, AFTER),
        # The broker's clock is ahead: the state includes it, so it counts from the state on.
        (NOON + 2 * A_MINUTE, -3000, 7000, NOON + A_MINUTE),
        # The broker's clock is behind: it came after the previous state, which did not include it.
        (NOON - timedelta(seconds=5), -3000, 7000, AFTER),
        (NOON - timedelta(seconds=5), 3000, 12_900, AFTER),
        # It is listed late: the previous state included it already.
        (NOON - timedelta(seconds=5), 3000, 10_050, NOON - timedelta(seconds=5)),
        (NOON - timedelta(seconds=5), -3000, 9_900, NOON - timedelta(seconds=5)),
    ],
)
def test_flow_counts_from_the_first_state_that_includes_it(
    listed_at: datetime, amount: int, equity: int, counts_from: datetime
) -> None:
    """The previous state is of noon, with an equity of 10,000; the new one is a minute later."""
    request = FlowRequest(uuid4(), NOON, D(10_000), None, [])
    read = AccountFlows(request, (flow(amount, listed_at),))
    times = effective_times(read, equity=D(equity), state_at=NOON + A_MINUTE)
    assert times == [(read.flows[0], counts_from)]


def test_flow_from_before_a_state_of_unknown_equity_counts_from_the_brokers_time() -> None:
    """Nothing shows that the state did not include it, as if it were listed late."""
    earlier = flow(-3000, NOON - A_MINUTE)
    read = AccountFlows(FlowRequest(uuid4(), NOON, None, None, []), (earlier,))
    times = effective_times(read, equity=D(7000), state_at=NOON + A_MINUTE)
    assert times == [(earlier, earlier.time)]


def test_first_read_counts_flows_from_the_brokers_time() -> None:
    request = FlowRequest(uuid4(), None, None, NOON, [])
    read = AccountFlows(request, (flow(5, NOON - A_MINUTE),))
    assert effective_times(read, equity=D(1), state_at=NOON)[0][1] == NOON - A_MINUTE


def test_flows_are_read_again_from_a_day_before_the_last_read() -> None:
    now, day = NOON + timedelta(hours=5), timedelta(days=1)
    assert FlowRequest(uuid4(), NOON, None, None, []).since(NOON - 9 * day, now) == NOON - day
    first = FlowRequest(uuid4(), None, None, NOON - 20 * day, [])
    assert first.since(NOON - 30 * day, now) == NOON - 21 * day
    assert first.since(NOON - 9 * day, now) == NOON - 9 * day
    assert FlowRequest(uuid4(), None, None, None, []).since(NOON - 9 * day, now) == now - day


class Bank(Broker):
    """A broker that lists deposits. Each booking waits until an account was read so often."""

    def __init__(self) -> None:
        super().__init__()
        self.listed_flows: list[BrokerCashFlow] = []
        self.error: Exception | None = None
        self.horizon: timedelta | None = timedelta(days=30)
        self.flow_reads = self.state_reads = 0
        self.book_at: dict[int, int] = {}  # amounts, by the number of the state's read
        self.money = D(10_000)

    async def account(self, spec: ConnectionSpec) -> AccountState:
        read = account(balance=self.money, equity=self.money)
        self.state_reads += 1
        if amount := self.book_at.get(self.state_reads):  # right after this state
            self.book(amount)
        return read

    def book(self, amount: int) -> None:
        self.money += amount
        number = str(len(self.listed_flows))
        self.listed_flows.append(flow(amount, datetime.now(UTC), number))

    def capabilities(self, spec: ConnectionSpec) -> Capabilities:
        return replace(capabilities_of(spec), cash_flows_horizon=self.horizon)

    async def cash_flows(self, spec: ConnectionSpec, since: datetime) -> list[BrokerCashFlow]:
        self.flow_reads += 1
        if self.error is not None:
            raise self.error
        return [one for one in self.listed_flows if one.time >= since]


@pytest.fixture
def bank() -> Bank:
    return Bank()


@pytest.fixture
def row() -> ExecutionConnection:
    preset = make.preset(**make.day_around_now())
    return make.connection(sealed_credentials=None, preset=preset)


@pytest.fixture
def limited(row: ExecutionConnection) -> ExecutionConnection:
    assert row.preset is not None
    limit_of(row.preset)
    return row


def poll(bank: Bank) -> None:
    assert account_polling.refresh_due_accounts(older_than_seconds=0, adapter=bank) == (1, 0)


def note_of(connection: ExecutionConnection) -> str:
    return flow_note(ExecutionConnection.objects.get(pk=connection.pk))


def stored(row: ExecutionConnection) -> tuple[D, list[D]]:
    amounts = CashFlow.objects.filter(connection=row).order_by("pk").values_list("amount")
    return AccountSnapshot.objects.get(connection=row).equity, [amount for (amount,) in amounts]


@pytest.mark.usefixtures("inline_commits")
class TestReading:
    """Accounts that are polled."""

    def test_account_without_limits_has_its_flows_too(
        self, row: ExecutionConnection, bank: Bank
    ) -> None:
        bank.book(500)
        poll(bank)
        assert (bank.state_reads, bank.flow_reads) == (2, 2)  # both again, as one was new
        assert stored(row) == (D(10_500), [D(500)])
        assert "are read from the broker" in note_of(row)
        poll(bank)
        assert (bank.state_reads, bank.flow_reads) == (3, 3)  # one call beside each state
        assert stored(row) == (D(10_500), [D(500)])

    def test_deposit_entered_by_hand_is_not_counted_again(
        self, row: ExecutionConnection, bank: Bank
    ) -> None:
        now = datetime.now(UTC)
        for hours, amount in ((30, 500), (1, 500), (72, 500), (1, -20)):
            CashFlow.objects.create(
                connection=row, at=now - timedelta(hours=hours), amount=amount, origin="OWNER"
            )
        bank.listed_flows = [
            flow(500, now - timedelta(minutes=3), "a"), flow(500, now - timedelta(hours=20), "b"),
            flow(70, now - timedelta(hours=2), "c"),
        ]  # fmt: skip
        for _ in range(2):
            poll(bank)
            found = CashFlow.objects.order_by("amount", "-at").values_list("amount", "reference")
            assert list(found) == [
                (D(-20), ""), (D(70), "c"), (D(500), "a"), (D(500), "b"), (D(500), ""),
            ]  # fmt: skip

    def test_entry_that_was_taken_back_is_not_the_brokers_deposit(
        self, row: ExecutionConnection, bank: Bank
    ) -> None:
        now = datetime.now(UTC)
        for minutes, amount in ((50, 1000), (40, -1000)):
            CashFlow.objects.create(
                connection=row, at=now - timedelta(minutes=minutes), amount=amount, origin="OWNER"
            )
        bank.listed_flows = [flow(1000, now - timedelta(minutes=3))]
        poll(bank)
        assert sum(stored(row)[1]) == D(1000)

    def test_deposit_entered_by_hand_counts_from_the_brokers_time(
        self, row: ExecutionConnection, bank: Bank
    ) -> None:
        now = datetime.now(UTC)
        CashFlow.objects.create(
            connection=row, at=now - timedelta(hours=9), amount=1000, origin="OWNER"
        )
        booked = now - timedelta(minutes=3)
        bank.listed_flows = [
            replace(flow(1000, booked - timedelta(hours=5), "credit"), is_credit=True),
            flow(1000, booked, "deposit"),
        ]
        poll(bank)
        found = CashFlow.objects.order_by("at").values_list("reference", "is_credit", "origin")
        assert list(found) == [("credit", True, "BROKER"), ("deposit", False, "OWNER")]
        assert CashFlow.objects.get(reference="deposit").at == booked

    def test_state_and_its_flows_are_stored_together(
        self, limited: ExecutionConnection, bank: Bank
    ) -> None:
        poll(bank)
        assert (bank.state_reads, bank.flow_reads) == (1, 1)
        bank.book(-3000)
        poll(bank)
        assert stored(limited) == (D(7000), [D(-3000)])
        poll(bank)
        assert stored(limited) == (D(7000), [D(-3000)])
        read = CashFlowRead.objects.get(connection=limited)
        snapshot = AccountSnapshot.objects.get(connection=limited)
        assert (read.read_at, read.missing_since, read.error) == (snapshot.read_at, None, "")
        assert read.equity == snapshot.equity == D(7000)
        assert "are read from the broker" in flow_note(
            ExecutionConnection.objects.get(pk=limited.pk)
        )

    @pytest.mark.parametrize("amount", [-3000, 3000])
    def test_flow_between_state_and_flows_is_in_the_stored_state(
        self, limited: ExecutionConnection, bank: Bank, amount: int
    ) -> None:
        bank.book_at = {1: amount}
        poll(bank)
        assert stored(limited) == (D(10_000 + amount), [D(amount)])
        flow_at = CashFlow.objects.get().at
        assert flow_at <= AccountSnapshot.objects.get(connection=limited).read_at

    def test_flows_that_keep_coming_are_missing(
        self, limited: ExecutionConnection, bank: Bank
    ) -> None:
        bank.book_at = dict.fromkeys(range(1, 9), -10)
        poll(bank)
        assert CashFlowRead.objects.get(connection=limited).missing_since is not None

    def test_failed_flows_lose_no_state_and_are_made_up_for(
        self, limited: ExecutionConnection, bank: Bank
    ) -> None:
        poll(bank)
        bank.book(-3000)
        bank.error = ReadFailed(Code.BROKER_UNREACHABLE, "no answer")
        for _ in range(2):
            poll(bank)
        read = CashFlowRead.objects.get(connection=limited)
        snapshot = AccountSnapshot.objects.get(connection=limited)
        assert snapshot.equity == D(7000)
        assert read.read_at is not None
        assert read.missing_since is not None
        assert read.read_at < read.missing_since < snapshot.read_at
        assert read.equity == D(10_000)  # of the last state with its flows
        assert read.error.endswith("no answer")
        assert "could not be read since" in flow_note(
            ExecutionConnection.objects.get(pk=limited.pk)
        )
        bank.error = None
        poll(bank)
        assert stored(limited) == (D(7000), [D(-3000)])
        assert CashFlowRead.objects.get(connection=limited).missing_since is None

    @pytest.mark.parametrize("is_limited", [True, False])
    def test_failed_flows_of_an_account_without_limits_are_tried_again_after_minutes(
        self, row: ExecutionConnection, bank: Bank, is_limited: bool
    ) -> None:
        """With limits at once: they wait for the flows."""
        assert row.preset is not None
        if is_limited:
            limit_of(row.preset)
        bank.error = ReadFailed(Code.BROKER_UNREACHABLE, "no answer")
        for _ in range(3):
            poll(bank)
        assert bank.flow_reads == (3 if is_limited else 1)
        assert "could not be read since" in note_of(row)
        bank.error = None
        CashFlowRead.objects.update(retry_at=datetime.now(UTC))
        poll(bank)
        assert "are read from the broker" in note_of(row)

    def test_flow_of_a_slow_clock_counts_after_the_last_state_without_it(
        self, limited: ExecutionConnection, bank: Bank
    ) -> None:
        """States were stored while flows could not be read, so that state is not the last one."""
        poll(bank)
        before = AccountSnapshot.objects.get(connection=limited).read_at
        bank.error = ReadFailed(Code.BROKER_UNREACHABLE, "no answer")
        bank.money += 5000
        bank.listed_flows.append(flow(5000, before - timedelta(seconds=5)))
        poll(bank)
        bank.error = None
        poll(bank)
        assert CashFlow.objects.get().at == before + timedelta(microseconds=1)

    @pytest.mark.parametrize("is_limited", [True, False])
    def test_peak_from_before_a_flow_that_is_read_later_counts(
        self, row: ExecutionConnection, bank: Bank, is_limited: bool
    ) -> None:
        """It could not be read with the states after it, or no limit needed it then."""
        assert row.preset is not None
        if is_limited:
            limit_of(row.preset, basis="PEAK")
        poll(bank)
        bank.error = ReadFailed(Code.BROKER_UNREACHABLE, "no answer")
        bank.book(5000)
        bank.money -= 1000
        poll(bank)
        if not is_limited:
            limit_of(row.preset, basis="PEAK")
        bank.error = None
        poll(bank)
        [figures] = figures_of(limits_of([row.pk]), {}, datetime.now(UTC))
        assert (figures.peak_equity, figures.equity) == (D(15_000), D(14_000))

    @pytest.mark.parametrize("by_key", [True, False])
    def test_broker_that_lists_none_is_asked_again_after_an_hour(
        self, limited: ExecutionConnection, bank: Bank, by_key: bool
    ) -> None:
        if by_key:
            bank.error = ReadFailed(Code.NOT_SUPPORTED, "the key may not list deposits")
        else:
            bank.horizon = None
        poll(bank)
        read = CashFlowRead.objects.get(connection=limited)
        assert read.missing_since is None
        assert read.retry_at is not None
        assert read.retry_at > datetime.now(UTC) + timedelta(minutes=59)
        why = "the key may not list deposits" if by_key else "the broker lists none"
        assert why in note_of(limited)
        bank.error, bank.horizon = None, timedelta(days=30)
        poll(bank)
        assert CashFlowRead.objects.get(connection=limited).retry_at is not None
        CashFlowRead.objects.update(retry_at=datetime.now(UTC))
        poll(bank)
        assert CashFlowRead.objects.get(connection=limited).retry_at is None

    def test_state_of_a_connection_test_is_without_flows(
        self, limited: ExecutionConnection, bank: Bank
    ) -> None:
        connection_checks.run_test(limited.pk, adapter=bank)
        assert CashFlowRead.objects.get(connection=limited).missing_since is not None
        poll(bank)
        assert CashFlowRead.objects.get(connection=limited).missing_since is None

    def test_amount_that_is_no_number_stores_nothing(
        self, limited: ExecutionConnection, bank: Bank
    ) -> None:
        bank.listed_flows = [flow("NaN", datetime.now(UTC))]
        account_polling.refresh_due_accounts(older_than_seconds=0, adapter=bank)
        assert not CashFlow.objects.exists()
        assert not AccountSnapshot.objects.filter(connection=limited).exists()
