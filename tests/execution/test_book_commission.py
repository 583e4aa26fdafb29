"""`manage.py book_commission`: a commission that the broker does not state any more."""

from decimal import Decimal as D

import pytest
from django.core.management import CommandError, call_command

from connections.models import ExecutionConnection
from execution.models import ExecutionLog, Fill, Order
from execution.reports.apply import apply_reports
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def fill(alice: ExecutionConnection, feed: Feed) -> Fill:
    """An execution of a USD account without a commission."""
    factories.signal(feed)
    factories.claim_all()
    apply_reports([factories.fill_report(Order.objects.get(), 100, "e1")])
    return Fill.objects.get()


def booked(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    call_command("book_commission", *arguments)
    return capsys.readouterr().out.strip()


def test_commission_is_booked_once_on_fill_order_and_position(
    fill: Fill, capsys: pytest.CaptureFixture[str]
) -> None:
    number, note = f"O-{fill.order_id}", "statement of 2 May"
    message = booked(capsys, number, "e1", "1.25", "usd", "--note", note)
    assert message == f"{number}, fill e1: 0 before, 1.25 USD now."
    assert booked(capsys, number, "e1", "1.25", "USD") == "It is booked already: 1.25 USD."
    assert ExecutionPosition.objects.get().commission == D("1.25")
    assert Order.objects.get().commission == D("1.25")
    (line,) = ExecutionLog.objects.filter(code="COMMISSION_ENTERED")
    assert (line.order_id, line.detail) == (fill.order_id, note)


def test_another_amount_replaces_the_first(fill: Fill, capsys: pytest.CaptureFixture[str]) -> None:
    booked(capsys, f"O-{fill.order_id}", "e1", "1.25", "USD")
    booked(capsys, f"O-{fill.order_id}", "e1", "2", "USD")
    assert ExecutionPosition.objects.get().commission == D(2)


def test_commission_without_a_rate_is_reported_apart(
    fill: Fill, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "No rate" in booked(capsys, f"O-{fill.order_id}", "e1", "3", "XYZ")
    assert ExecutionPosition.objects.get().commission == 0


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        (("e2", "1", "USD"), "has no fill e2. Its fills: e1."),
        (("e1", "one", "USD"), "one is not an amount"),
        (("e1", "1", "U S"), "is not a currency"),
    ],
)
def test_refusals_say_what_to_do(fill: Fill, arguments: tuple[str, ...], refusal: str) -> None:
    with pytest.raises(CommandError, match=refusal):
        call_command("book_commission", f"O-{fill.order_id}", *arguments)
    assert Fill.objects.get().commission == 0


@pytest.mark.parametrize(
    ("number", "refusal"),
    [
        ("first", "'first' is not an order's number, such as O-12."),
        ("O-99999", "There is no order O-99999."),
        ("99999", "There is no order O-99999."),
    ],
)
def test_order_that_there_is_not_is_named(db: None, number: str, refusal: str) -> None:
    with pytest.raises(CommandError, match=refusal):
        call_command("book_commission", number, "e1", "1", "USD")


def test_order_without_fills_is_refused(alice: ExecutionConnection, feed: Feed) -> None:
    factories.signal(feed)
    number = f"O-{Order.objects.get().pk}"
    with pytest.raises(CommandError, match=f"{number} has no fill that its broker reported"):
        call_command("book_commission", number, "e1", "1", "USD")
