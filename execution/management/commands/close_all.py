"""`manage.py close_all`: close every open position."""

import json
from typing import Any

from django.core.management.base import CommandError, CommandParser

from common.commands import HelpedCommand
from execution import scoped_actions, tasks
from execution.management.scope_options import add_scope_options, amounts_text, read_scope

HELP = """\
Close every open position by a market order, ahead of all entries.

Each stop stays active until its close is filled. Entries that have not filled stay: run cancel_all
first, or what fills later stays open. To stop later signals too, set the kill switch.

  manage.py close_all                         show what would be closed
  manage.py close_all --yes                   close everywhere
  manage.py close_all --feed gold --yes       one feed's trades; also --user NAME,
                                              --connection UUID, --symbol EUR/USD,
                                              --broker-type mt5

The last line on standard output is JSON: {"closing": n}."""


class Command(HelpedCommand):
    """`manage.py close_all`."""

    help = HELP

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the scope and the confirmation."""
        add_scope_options(parser)
        parser.add_argument(
            "--yes", action="store_true", help="close them; without it nothing is changed"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Write the exits, or only count the positions."""
        target = read_scope(options)
        if not options["yes"]:
            impact = scoped_actions.scope_impact(target, by=None)
            found = len(scoped_actions.position_ids(target, by=None))
            amounts = amounts_text(impact, "open_amounts")
            raise CommandError(
                f"{found} of {impact.positions} open positions{amounts} would be closed; any "
                f"others are being closed already. {impact.waiting + impact.working} entries that "
                "have not filled would stay. Add --yes to do it."
            )
        scope = scoped_actions.ActionScope((target,))
        request = scoped_actions.ActionRequest(scope, closes_positions=True)
        ids = scoped_actions.carry_out(request, by=None).exits
        tasks.enqueue_on_commit(ids, queue=tasks.EXITS)
        self.stderr.write(f"{len(ids)} positions are being closed.")
        self.stdout.write(json.dumps({"closing": len(ids)}))
