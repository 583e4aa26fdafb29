"""`manage.py book_commission`: a commission that the broker does not state any more."""

from decimal import Decimal
from typing import Any

from django.core.management.base import CommandError, CommandParser

from common.errors import InvalidInputError
from common.money import plain, read_decimal
from common.process.commands import HelpedCommand, number_in
from common.reason_codes import Code
from execution.models import Fill, Order
from execution.reports.commissions import StatedCommission, book_commissions

HELP = """\
Book the commission of a fill that the broker charged but does not state any more, as Interactive
Brokers does not for executions of earlier days. It changes the results of the trade. Done twice, it
counts once.

  manage.py book_commission O-12 0000e0d5.65f1a2b3.01 1.25 USD --note "statement of 2 May"

The fill's id is on the order's page. A commission below 0 was paid to you."""


class Command(HelpedCommand):
    """`manage.py book_commission`."""

    help = HELP

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the fill and its commission."""
        parser.add_argument("order", help="its number, such as O-12")
        parser.add_argument("fill", help="the broker's id of the execution")
        parser.add_argument("amount", help="the whole commission of this fill")
        parser.add_argument("currency", help="such as USD")
        parser.add_argument("--note", default="", help="for the order's log: where it is stated")

    def handle(self, *args: Any, **options: Any) -> None:
        """Book it and print what changed."""
        fill = _find(options["order"], options["fill"])
        amount, currency = _amount(options["amount"]), _currency(options["currency"])
        stated = StatedCommission(
            str(fill.connection_id), fill.broker_fill_id, fill.revision, amount, currency
        )
        before = f"{plain(fill.commission)} {fill.commission_currency}".strip()
        if not book_commissions(
            [stated], code=Code.COMMISSION_ENTERED, detail=options["note"][:200]
        ):
            self.stdout.write(f"It is booked already: {before}.")
            return
        fill.refresh_from_db()
        is_converted = fill.commission_rate is not None or not fill.commission
        self.stdout.write(
            f"O-{fill.order_id}, fill {fill.broker_fill_id}: {before} before,"
            f" {plain(fill.commission)} {fill.commission_currency} now."
            + ("" if is_converted else " No rate to the account's currency is known: it is listed"
               " apart until there is one.")
        )  # fmt: skip


def _find(number: str, fill_id: str) -> Fill:
    """Return an order's fill. Raises CommandError with those that there are."""
    pk = number_in(number, "O-")
    if not pk:
        raise CommandError(f"{number!r} is not an order's number, such as O-12.")
    if not Order.objects.filter(pk=pk).exists():
        raise CommandError(f"There is no order O-{pk}.")
    fills = list(Fill.objects.filter(order_id=pk, inferred=False))
    for fill in fills:
        if fill.broker_fill_id == fill_id:
            return fill
    if not fills:
        raise CommandError(f"O-{pk} has no fill that its broker reported.")
    known = ", ".join(fill.broker_fill_id for fill in fills)
    raise CommandError(f"O-{pk} has no fill {fill_id}. Its fills: {known}.")


def _amount(text: str) -> Decimal:
    try:
        return read_decimal(text, field="amount")
    except InvalidInputError as error:
        raise CommandError(f"{text} is not an amount: {error.detail}") from error


def _currency(text: str) -> str:
    currency = text.upper()
    if not (currency.isascii() and currency.isalnum() and 2 <= len(currency) <= 10):
        raise CommandError(f"{text} is not a currency such as USD.")
    return currency
