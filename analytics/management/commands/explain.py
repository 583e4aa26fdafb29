"""`manage.py explain`: what happened to an order, and why."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from analytics.orders.archived import text_of
from analytics.orders.explanations import explain
from analytics.orders.figures import with_figures
from common.archive.overview import has_archived
from common.clocks import market_at
from common.limit_figures import read_figures, text_with_detail
from common.process.commands import HelpedCommand, number_in
from common.web.formatting import sentence
from execution.models import ArchivedOrder, ExecutionLog, Order

HELP = """\
Show what happened to an order, and why: its state, the limit that denied it with value and maximum,
what to do about it, and each line of its log. Times are those of the market clock,
as on the pages.

  manage.py explain O-12      by its number; 12 is the same"""


class Command(HelpedCommand):
    """`manage.py explain`."""

    help = HELP

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the order."""
        parser.add_argument("order", help="its number, such as O-12")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the order's explanation and its log."""
        order = _find(options["order"])
        explanation = explain(order)
        self.stdout.write(f"{order}: {order.side} {order.pair}, {order.leg}, {order.connection}")
        self.stdout.write(explanation.summary)
        if explanation.why:
            self.stdout.write(explanation.why)
        if explanation.code:
            self.stdout.write(f"Code {explanation.code}")
        if has_archived("logs", since=order.created_at):
            self.stdout.write(f"Older lines: manage.py read_archive logs --order O-{order.pk}")
        for line in ExecutionLog.objects.filter(order_id=order.pk).order_by("id"):
            self.stdout.write(_line(line))


def _find(number: str) -> Order:
    """Return an order by its number. Raises CommandError."""
    orders = with_figures(Order.objects.select_related("connection", "signal", "trigger"))
    found = orders.filter(pk=number_in(number, "O-")).first()
    archived = ArchivedOrder.objects.filter(pk=number_in(number, "O-"))
    if found is None and (gone := archived.select_related("connection").first()) is not None:
        raise CommandError(text_of(gone))
    if found is None:
        raise CommandError(f"There is no order {number}. Its number is such as O-12.")
    return found


def _line(line: ExecutionLog) -> str:
    detail = text_with_detail(read_figures(line.code, line.numbers), line.detail)
    shown = " ".join(
        filter(None, [line.status, line.code, sentence(line.code, line.status), detail])
    )
    return f"{market_at(line.at):%Y-%m-%d %H:%M:%S} UTC  {shown}"
