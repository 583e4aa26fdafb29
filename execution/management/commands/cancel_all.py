"""`manage.py cancel_all`: cancel every entry that has not filled."""

import json
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError, CommandParser

from common.commands import HelpedCommand
from execution import services, tasks
from execution.models import Order

HELP = """\
Cancel every entry that has not filled. Positions, stops and targets stay.

Entries that were not sent are CANCELLED at once. For the others we request a cancel from the broker
until it answers. Signals published afterwards are not affected; to stop those, set the kill switch.

  manage.py cancel_all                        show how many would be cancelled
  manage.py cancel_all --yes                  cancel everywhere
  manage.py cancel_all --user anna --yes      one tenant's; also --connection UUID, --signal ID

The last line on standard output is JSON: {"cancelled": n}."""


class Command(HelpedCommand):
    """`manage.py cancel_all`."""

    help = HELP

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user", help="only this tenant's entries (user name)")
        parser.add_argument("--connection", type=UUID, help="only this connection's entries (UUID)")
        parser.add_argument("--signal", type=int, help="only this signal's entries (number)")
        parser.add_argument(
            "--yes", action="store_true", help="cancel them; without it nothing is changed"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        filters = {
            "connection__user__username": options["user"],
            "connection_id": options["connection"],
            "signal_id": options["signal"],
        }
        live = Order.objects.entries().filter(
            done_at=None,
            pending_action="",
            **{name: value for name, value in filters.items() if value},
        )
        ids = list(live.order_by("pk").values_list("pk", flat=True))
        if not options["yes"]:
            raise CommandError(f"{len(ids)} entries would be cancelled. Add --yes to do it.")
        requested = services.cancel_orders(ids)
        tasks.enqueue_pending_actions_on_commit()
        self.stderr.write(
            f"{len(requested)} of {len(ids)} entries are cancelled or requested to be."
        )
        self.stdout.write(json.dumps({"cancelled": len(requested)}))
