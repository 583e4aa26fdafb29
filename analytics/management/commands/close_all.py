"""`manage.py close_all`: close every open position."""

import json
from typing import Any

from django.core.management.base import CommandParser

from analytics.orders.scoped_pages import consequences, live_scope
from analytics.orders.scoped_results import positions_of_exits
from common.process.commands import HelpedCommand
from execution import tasks
from execution.management.scope_options import (
    add_scope_options,
    is_confirmed,
    not_done,
    read_scope,
    show,
)
from execution.scoped import actions as scoped_actions

HELP = """\
Close every open position by a market order, ahead of all entries.

Each stop stays active until its close is filled. Entries that have not filled stay: run cancel_all
first, or what fills later stays open. To stop later signals too, set the kill switch.

  manage.py close_all                         show what would be closed, then ask
  manage.py close_all --yes                   close everywhere, without a question
  manage.py close_all --feed gold --yes       one feed's trades; also --user NAME,
                                              --connection UUID, --symbol EUR/USD,
                                              --broker-type mt5

Without --yes it asks at a terminal, and elsewhere changes nothing and ends with exit code 2. The
last line on standard output is JSON: {"closing": n}."""


class Command(HelpedCommand):
    """`manage.py close_all`."""

    help = HELP

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the scope and the confirmation."""
        add_scope_options(parser)
        parser.add_argument("--yes", action="store_true", help="close them without a question")

    def handle(self, *args: Any, **options: Any) -> None:
        """Show what would be closed, and write the exits once that is confirmed."""
        target = read_scope(options)
        scope = scoped_actions.ActionScope((target,))
        live = live_scope(scope, by=None)
        lines = consequences(live, cancels=False, closes=True, to_stop="set the kill switch")
        show(self, f"Closing the positions of {scope.name}:", lines)
        if not (options["yes"] or is_confirmed(self, f"Close {live.positions} positions?")):
            raise not_done(f"Nothing was closed: {live.positions} positions would be.")
        request = scoped_actions.ActionRequest(scope, closes_positions=True)
        ids = scoped_actions.carry_out(request, by=None).exits
        tasks.enqueue_on_commit(ids, queue=tasks.EXITS)
        closing = positions_of_exits(ids)
        self.stderr.write(f"{closing} positions are being closed.")
        self.stdout.write(json.dumps({"closing": closing}))
