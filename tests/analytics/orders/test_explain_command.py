"""`manage.py explain`: an order's state, the figures of its denial, and its log."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal as D

import pytest
from django.core.management import CommandError, call_command

from analytics.orders.explanations import explain
from analytics.orders.reasons import reason_of
from common.clocks import MarketClock, set_market_clock
from execution.models import ExecutionLog, Order
from signals.models import Feed
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

pytestmark = pytest.mark.django_db


def explained(capsys: pytest.CaptureFixture[str], number: str) -> str:
    call_command("explain", number)
    return capsys.readouterr().out


def test_denied_order_is_explained_with_its_figures(
    feed: Feed, broker: FakeBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    factories.account(feed, preset_max_quantity=D(99))
    factories.signal(feed)
    factories.claim_all()
    number = Order.objects.get().pk
    text = explained(capsys, f"O-{number}")
    assert text == explained(capsys, str(number))
    first, summary, why, code, *log = text.splitlines()
    assert first.startswith(f"O-{number}")
    assert summary.startswith("Denied by our rules: ")
    assert why.startswith("Quantity: 100 EUR, maximum 99 EUR. Nothing was sent.")
    assert code == "Code MAX_QUANTITY"
    assert [line.split()[3:5] for line in log][1] == ["DENIED", "MAX_QUANTITY"]
    assert log[1].endswith("Quantity: 100 EUR, maximum 99 EUR.")


MACHINE, MARKET = datetime(2026, 5, 4, 9, tzinfo=UTC), datetime(2014, 5, 2, 12, 30, tzinfo=UTC)


@pytest.fixture
def replayed() -> Iterator[None]:
    set_market_clock(MarketClock(MARKET, MACHINE, 60))
    yield
    set_market_clock(None)


@pytest.mark.usefixtures("stopped_clock")
def test_times_are_those_of_the_replayed_market(
    feed: Feed, broker: FakeBroker, capsys: pytest.CaptureFixture[str], replayed: None
) -> None:
    order = Order(
        pk=1, status="PENDING", reason="CONNECTION_UNREACHABLE", waiting_since=MACHINE,
        pair="EUR/USD", leg="entry", side="BUY",
    )  # fmt: skip
    assert "waiting since 12:30:00 UTC: " in explain(order).summary
    assert explain(order).brief.startswith("Waiting since 12:30:00 UTC: ")
    factories.account(feed, preset_max_quantity=D(99))
    factories.signal(feed)
    factories.claim_all()
    ExecutionLog.objects.update(at=MACHINE)
    _, *log = explained(capsys, str(Order.objects.get().pk)).split("Code MAX_QUANTITY\n")
    assert {line[:23] for line in log[0].splitlines()} == {"2014-05-02 12:30:00 UTC"}


@pytest.mark.parametrize("status", ["CANCELLED", "EXPIRED", "FILLED"])
def test_ended_order_waits_since_no_time(status: str) -> None:
    waited = Order(status=status, reason="SIGNAL_TOO_OLD", waiting_since=MACHINE, done_at=MACHINE)
    assert reason_of(waited).since is None


@pytest.mark.parametrize("number", ["O-1", "first", "99999999999999999999", "²"])
def test_unknown_order_is_refused(db: None, number: str) -> None:
    with pytest.raises(CommandError, match="There is no order"):
        call_command("explain", number)
