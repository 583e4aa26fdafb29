"""`manage.py close_trades`: close what a feed has open."""

import json
from decimal import Decimal
from typing import Any

from django.core.management.base import CommandError, CommandParser

from common.errors import FillcastError, InvalidInputError
from common.money import read_decimal
from common.process.commands import HelpedCommand, fault_text, raise_faults
from signals.models import Approval, Direction, Feed, Origin
from signals.publishing.closing import TradeSelection, close_trades, open_trades, selection_errors

HELP = """\
Close what a feed has open, on every account: one CLOSE signal is published for each trade.

Entries that are not filled are cancelled. Signals published afterwards are not affected; to stop
those, set the kill switch.

  manage.py close_trades --feed majors                        show what would be closed
  manage.py close_trades --feed majors --yes                  close all of it
  manage.py close_trades --feed majors --symbol EUR/USD --yes      only one symbol
  manage.py close_trades --feed majors --direction BUY --fraction 0.5 --yes

The last line on standard output is JSON: {"closed": [...], "waiting": [...], "skipped": [...]}.
closed: ids of the CLOSE signals that are published. waiting: ids of those that need an operator's
approval, because the feed has none. skipped: ids of trades that the feed has closed before and that
accounts still hold (their exits are tried again anyway), or whose CLOSE waits for an approval."""


class Command(HelpedCommand):
    """`manage.py close_trades`."""

    help = HELP

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--feed", required=True, help="the feed's slug")
        parser.add_argument("--symbol", default="", help="only trades in this symbol")
        parser.add_argument(
            "--direction", choices=Direction.values, help="only trades of this side"
        )
        parser.add_argument("--fraction", default="1", help="the share of what is open; default 1")
        parser.add_argument("--external-id", default="", help="makes a repetition harmless")
        parser.add_argument(
            "--yes", action="store_true", help="close them; without it nothing is changed"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        feed, selection = _read(options)
        try:
            if not options["yes"]:
                opened = open_trades(feed, selection).signals
                listed = "".join(f"\n  {signal.number} {signal}" for signal in opened)
                raise CommandError(
                    f"{_trades(len(opened))} would be closed.{listed}\nAdd --yes to do it."
                )
            closed = close_trades(
                feed, selection, origin=Origin.FILE, external_id=options["external_id"], by=None
            )
        except FillcastError as error:
            raise CommandError(fault_text(error)) from error
        waiting = [one.pk for one in closed.signals if one.approval != Approval.APPROVED]
        done = [one.pk for one in closed.signals if one.approval == Approval.APPROVED]
        self.stderr.write(f"Closed: {_trades(len(done))}.")
        if waiting:
            self.stderr.write(
                f"Not closed yet: {_trades(len(waiting))}. An operator must approve the signals:"
                " open them in the console, or approve the feed."
            )
        self.stdout.write(
            json.dumps({"closed": done, "waiting": waiting, "skipped": list(closed.skipped)})
        )


def _read(options: dict[str, Any]) -> tuple[Feed, TradeSelection]:
    """Return the feed and its trades to close. Raises CommandError with all faults."""
    faults: list[str | FillcastError] = []
    feed = Feed.objects.filter(slug=options["feed"]).first()
    if feed is None:
        faults.append(f"There is no feed {options['feed']!r}.")
    fraction = Decimal(1)
    try:
        fraction = read_decimal(options["fraction"])
    except InvalidInputError:
        faults.append("--fraction must be a number, for example 0.5.")
    direction = Direction(options["direction"]) if options["direction"] else None
    selection = TradeSelection(options["symbol"], direction, fraction)
    raise_faults([*faults, *selection_errors(selection, options["external_id"])])
    assert feed is not None
    return feed, selection


def _trades(count: int) -> str:
    return f"{count} trade{'' if count == 1 else 's'}"
