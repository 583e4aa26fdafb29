"""Funding of perpetuals: read with the account, booked once to the positions that were open."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.base import OutcomeUnknown
from brokers.types import BrokerFunding, CloseCause, ReportKind
from common.clocks import market_now
from common.db.sql import run
from common.failpoints import AbandonedError, Failpoint, arm
from common.reason_codes import Code
from connections.health.account_polling import refresh_due_accounts
from connections.models import AccountSnapshot, ExecutionConnection, FundingPayment
from execution.funding import book_funding, shares_of
from execution.models import Order
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.connections.fake_brokers import account
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

MINUTE = timedelta(minutes=1)


@pytest.fixture
def venue(broker: FakeBroker) -> FakeBroker:
    broker.funding_horizon = timedelta(days=80)
    broker.state = account()
    return broker


def pay(
    venue: FakeBroker, amount: str, at: datetime | None = None, quantity: str | None = None
) -> None:
    venue.fundings.append(
        BrokerFunding(
            str(len(venue.fundings)), "EURUSD", D(amount), "USD", at or market_now(),
            D(quantity) if quantity else None,
        )
    )  # fmt: skip


def read() -> None:
    """Read all accounts, as long after the last read as it takes."""
    AccountSnapshot.objects.update(funding_read_at=None, funding_tried_at=None)
    assert refresh_due_accounts(older_than_seconds=0) == (1, 0)


def opened(feed: Feed, quantity: str, ago: timedelta) -> ExecutionPosition:
    signal = factories.signal(feed)
    factories.claim_all()
    entry = Order.objects.get(signal=signal)
    run("UPDATE execution_order SET quantity = %s WHERE id = %s", (D(quantity), entry.pk))
    report = factories.fill_report(
        entry, quantity, f"e{entry.pk}", broker_order_id=f"b{entry.pk}", time=market_now() - ago
    )
    factories.apply(report)
    return ExecutionPosition.objects.get(signal=signal)


def close(position: ExecutionPosition, quantity: str, ago: timedelta) -> None:
    entry = Order.objects.get(signal=position.signal_id, leg="entry")
    report = factories.fill_report(
        entry, quantity, f"x{position.pk}-{quantity}", price="1.10000",
        broker_order_id=f"X{position.pk}-{quantity}", time=market_now() - ago,
    )  # fmt: skip
    factories.apply(replace(report, close_cause=CloseCause.STOP_LOSS, levels=None))


def swaps() -> list[D]:
    return list(ExecutionPosition.objects.order_by("pk").values_list("swap", flat=True))


@pytest.mark.usefixtures("inline_commits")
class TestBooking:
    def test_payment_is_shared_by_what_was_held_then_and_booked_once(
        self, alice: ExecutionConnection, feed: Feed, venue: FakeBroker
    ) -> None:
        first = opened(feed, "100", 30 * MINUTE)
        opened(feed, "50", 20 * MINUTE)
        close(first, "50", 10 * MINUTE)
        pay(venue, "-1.00", market_now() - 25 * MINUTE)  # before the second was opened
        pay(venue, "-3.00", market_now() - 15 * MINUTE)  # 100 and 50
        pay(venue, "0.50", market_now() - 5 * MINUTE)  # 50 and 50
        pay(venue, "-9.00", market_now() - 35 * MINUTE)  # before anything of ours
        for _ in range(2):
            read()
            assert book_funding(settle_seconds=0) in (0, 4)
            assert swaps() == [D("-2.75"), D("-0.75")]
        first.refresh_from_db()
        assert (first.funding, first.net_result) == (D("-2.75"), D("-2.75"))
        assert FundingPayment.objects.filter(booked_at=None).count() == 0
        paid = {one.amount: one.shares for one in FundingPayment.objects.all()}
        assert sum(D(share) for share in paid[D("-3.00")].values()) == D(-3)
        assert paid[D("-9.00")] == {}  # it stays in what nothing explains

    def test_closed_position_gets_what_is_read_later_and_swap_of_fills_stays(
        self, alice: ExecutionConnection, feed: Feed, venue: FakeBroker
    ) -> None:
        position = opened(feed, "100", 30 * MINUTE)
        close(position, "100", 10 * MINUTE)
        pay(venue, "-1.23456789", market_now() - 15 * MINUTE)
        pay(venue, "-7", market_now() - 5 * MINUTE)  # it was closed by then
        read()
        book_funding(settle_seconds=0)
        assert swaps() == [D("-1.23456789")]
        entry = Order.objects.get(leg="entry")
        late = factories.fill_report(
            entry, "100", f"x{position.pk}-100", price="1.10000",
            broker_order_id=f"X{position.pk}-100",
        )  # fmt: skip
        with_swap = replace(late.fills[0], swap=D("-0.5"))
        factories.apply(
            replace(late, fills=(with_swap,), close_cause=CloseCause.STOP_LOSS, levels=None)
        )
        assert swaps() == [D("-1.73456789")]

    @pytest.mark.django_db(transaction=True)
    def test_part_of_trades_elsewhere_is_in_no_position(
        self, alice: ExecutionConnection, feed: Feed, venue: FakeBroker
    ) -> None:
        opened(feed, "100", 30 * MINUTE)
        pay(venue, "-4", market_now() - 15 * MINUTE, quantity="400")
        read()
        book_funding(settle_seconds=0)
        assert swaps() == [D(-1)]

    def test_other_currency_is_in_no_position(
        self, alice: ExecutionConnection, feed: Feed, venue: FakeBroker
    ) -> None:
        opened(feed, "100", 30 * MINUTE)
        pay(venue, "-4")
        venue.fundings[0] = replace(venue.fundings[0], currency="BNB")
        read()
        assert book_funding(settle_seconds=0) == 1
        assert swaps() == [D(0)]

    def test_process_that_dies_has_booked_all_or_nothing(
        self, alice: ExecutionConnection, feed: Feed, venue: FakeBroker
    ) -> None:
        opened(feed, "100", 30 * MINUTE)
        pay(venue, "-4")
        read()
        arm([Failpoint("funding.booked", "abandon")])
        try:
            with pytest.raises(AbandonedError):
                book_funding(settle_seconds=0)
        finally:
            arm([])
        assert swaps() == [D(0)]
        assert book_funding(settle_seconds=0) == 1
        assert swaps() == [D(-4)]

    def test_payment_waits_until_fills_of_its_time_are_known(
        self, alice: ExecutionConnection, feed: Feed, venue: FakeBroker
    ) -> None:
        pay(venue, "-4")
        read()
        assert book_funding() == 0

    def test_funding_is_read_every_five_minutes_and_a_failure_loses_no_state(
        self, alice: ExecutionConnection, venue: FakeBroker
    ) -> None:
        read()
        assert AccountSnapshot.objects.get().funding_read_at is not None
        pay(venue, "-4")
        refresh_due_accounts(older_than_seconds=0)
        assert not FundingPayment.objects.exists()

        def fail() -> None:
            if venue.calls[-1][0] == "funding":
                raise RuntimeError("no")

        venue.on_call = fail
        AccountSnapshot.objects.update(funding_read_at=None, funding_tried_at=None)
        for _ in range(2):
            assert refresh_due_accounts(older_than_seconds=0) == (1, 0)
            assert AccountSnapshot.objects.get().funding_read_at is None
        assert [name for name, _ in venue.calls].count("funding") == 2  # it is not tried at once

    @pytest.mark.parametrize("is_partly_known", [False, True])
    def test_payment_waits_for_an_order_without_an_answer_an_hour_at_most(
        self, alice: ExecutionConnection, feed: Feed, venue: FakeBroker, is_partly_known: bool
    ) -> None:
        opened(feed, "100", 30 * MINUTE)
        signal = factories.signal(feed)
        (outgoing,) = factories.claim_all()
        late = Order.objects.get(signal=signal)
        if is_partly_known:
            factories.answer(outgoing, OutcomeUnknown(Code.REPLY_LOST))
            factories.apply(factories.report(late, ReportKind.EXPIRED, event_id="s1"))
        pay(venue, "-2.00")
        read()
        assert book_funding(settle_seconds=0) == 0
        FundingPayment.objects.update(recorded_at=market_now() - 59 * MINUTE)
        assert book_funding(settle_seconds=0) == 0
        run("UPDATE execution_order SET quantity = 100 WHERE id = %s", (late.pk,))
        at = market_now() - 20 * MINUTE
        factories.apply(factories.fill_report(late, 100, "late", time=at))
        assert book_funding(settle_seconds=0) == 1
        assert swaps() == [D(-1), D(-1)]
        factories.signal(feed)
        factories.claim_all()
        pay(venue, "-4.00")
        read()
        FundingPayment.objects.filter(booked_at=None).update(recorded_at=market_now() - 61 * MINUTE)
        assert book_funding(settle_seconds=0) == 1

    def test_long_gap_is_read_in_parts(self, alice: ExecutionConnection, venue: FakeBroker) -> None:
        read()
        now = market_now()
        AccountSnapshot.objects.update(funding_read_at=now - timedelta(days=15))
        for days in (14, 8, 1):
            pay(venue, f"-{days}", now - timedelta(days=days))
        for count in (1, 2, 3, 3):
            AccountSnapshot.objects.update(funding_tried_at=None)
            assert refresh_due_accounts(older_than_seconds=0) == (1, 0)
            assert FundingPayment.objects.count() == count
        read_until = AccountSnapshot.objects.get().funding_read_at
        assert read_until is not None
        assert read_until > now - MINUTE

    def test_payment_that_cannot_be_stored_loses_neither_the_state_nor_the_others(
        self, alice: ExecutionConnection, venue: FakeBroker
    ) -> None:
        for amount in ("1e25", "-1", "-2"):
            pay(venue, amount)
        venue.fundings[1] = replace(venue.fundings[1], reference="9" * 101)
        read()
        assert [one.amount for one in FundingPayment.objects.all()] == [D(-2)]


amounts = st.decimals("-500", "500", places=8).filter(bool)
holdings = st.lists(st.decimals("0.001", "900", places=3), min_size=1, max_size=6)


@given(amounts, holdings)
def test_shares_add_up_to_the_last_digit(amount: D, held: list[D]) -> None:
    shares = shares_of(amount, dict(enumerate(held)), None)
    assert sum(shares.values()) == amount
    assert all(share * amount >= 0 for share in shares.values())


@given(amounts, holdings, holdings)
def test_opposite_positions_add_up_too(amount: D, bought: list[D], sold: list[D]) -> None:
    held = dict(enumerate([*bought, *(-one for one in sold)]))
    shares = shares_of(amount, held, None)
    net = sum(held.values())
    assert sum(shares.values()) == (amount if net else 0)
    assert all(abs(share) <= abs(amount) for share in shares.values())
