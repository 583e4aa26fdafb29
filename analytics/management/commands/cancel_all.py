"""`manage.py cancel_all`: cancel every entry that has not filled."""

import json
from typing import Any

from django.core.management.base import CommandError, CommandParser

from analytics.orders.scoped_pages import consequences, live_scope
from common.process.commands import HelpedCommand, row_number
from execution import tasks
from execution.management.scope_options import (
    add_scope_options,
    is_confirmed,
    not_done,
    read_scope,
    show,
)
from execution.scoped import actions as scoped_actions
from signals.models import Signal

HELP = """\
Cancel every entry that has not filled. Positions, stops and targets stay.

Entries that were not sent are CANCELLED at once, also those that wait for a trigger or a condition
and later slices. For the others we request a cancel from the broker until it answers. Signals
published afterwards are not affected; to stop those, set the kill switch.

  manage.py cancel_all                        show what would be cancelled, then ask
  manage.py cancel_all --yes                  cancel everywhere, without a question
  manage.py cancel_all --user anna --yes      one tenant's; also --connection UUID, --feed SLUG,
                                              --symbol EUR/USD, --broker-type mt5
  manage.py cancel_all --signal S-12 --yes    one signal's; also with one of the options above

Without --yes it asks at a terminal, and elsewhere changes nothing and ends with exit code 2. The
last line on standard output is JSON: {"cancelled": n}."""


class Command(HelpedCommand):
    """`manage.py cancel_all`."""

    help = HELP

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the scope and the confirmation."""
        add_scope_options(parser)
        parser.add_argument(
            "--signal",
            metavar="ID",
            type=row_number("S-", "a signal"),
            help="only this signal's entries: 2041 or S-2041",
        )
        parser.add_argument("--yes", action="store_true", help="cancel them without a question")

    def handle(self, *args: Any, **options: Any) -> None:
        """Show what would be cancelled, and cancel it once that is confirmed."""
        scope = scoped_actions.ActionScope((read_scope(options),), options["signal"])
        if scope.signal_id and not Signal.objects.filter(pk=scope.signal_id).exists():
            raise CommandError(f"There is no signal S-{scope.signal_id}.")
        live = live_scope(scope, by=None)
        lines = consequences(live, cancels=True, closes=False, to_stop="set the kill switch")
        show(self, f"Cancelling the entries of {scope.name}:", lines)
        if not (options["yes"] or is_confirmed(self, f"Cancel {live.entries} entries?")):
            raise not_done(f"Nothing was cancelled: {live.entries} entries would be.")
        request = scoped_actions.ActionRequest(scope, cancels_entries=True)
        done = scoped_actions.carry_out(request, by=None)
        tasks.enqueue_pending_actions_on_commit()
        cancelled, found = len(done.cancelled), len(done.cancelled) + len(done.ended)
        self.stderr.write(f"{cancelled} of {found} entries are cancelled or requested to be.")
        self.stdout.write(json.dumps({"cancelled": cancelled}))
