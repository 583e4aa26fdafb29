"""`manage.py cancel_all`: cancel every entry that has not filled."""

import json
from typing import Any

from django.core.management.base import CommandError, CommandParser

from common.commands import HelpedCommand
from execution import scoped_actions, tasks
from execution.management.scope_options import add_scope_options, amounts_text, read_scope

HELP = """\
Cancel every entry that has not filled. Positions, stops and targets stay.

Entries that were not sent are CANCELLED at once. For the others we request a cancel from the broker
until it answers. Signals published afterwards are not affected; to stop those, set the kill switch.

  manage.py cancel_all                        show how many would be cancelled
  manage.py cancel_all --yes                  cancel everywhere
  manage.py cancel_all --user anna --yes      one tenant's; also --connection UUID, --feed SLUG,
                                              --symbol EUR/USD, --broker-type mt5
  manage.py cancel_all --signal 12 --yes      one signal's; also with one of the options above

The last line on standard output is JSON: {"cancelled": n}."""


class Command(HelpedCommand):
    """`manage.py cancel_all`."""

    help = HELP

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the scope and the confirmation."""
        add_scope_options(parser)
        parser.add_argument("--signal", type=int, help="only this signal's entries (number)")
        parser.add_argument(
            "--yes", action="store_true", help="cancel them; without it nothing is changed"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Cancel the entries, or only count them."""
        scope = scoped_actions.ActionScope((read_scope(options),), options["signal"])
        if not options["yes"]:
            found = len(scoped_actions.entry_ids(scope, by=None))
            impact = scoped_actions.scope_impact(scope, by=None)
            amounts = amounts_text(impact, "working_amounts")
            at_brokers = f" ({impact.working} at brokers{amounts})" if impact.working else ""
            raise CommandError(
                f"{found} entries would be cancelled{at_brokers}. Add --yes to do it."
            )
        request = scoped_actions.ActionRequest(scope, cancels_entries=True)
        done = scoped_actions.carry_out(request, by=None)
        tasks.enqueue_pending_actions_on_commit()
        cancelled, found = len(done.cancelled), len(done.cancelled) + len(done.ended)
        self.stderr.write(f"{cancelled} of {found} entries are cancelled or requested to be.")
        self.stdout.write(json.dumps({"cancelled": cancelled}))
