import json
from argparse import RawDescriptionHelpFormatter
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from execution import services, tasks
from execution.models import Order

HELP = """\
Cancel every entry that is not filled yet; positions, stops and targets stay.

What was not sent is CANCELLED at once; brokers are asked about the rest, again and again until they
answer. It stops nothing that is published afterwards: set the kill switch for that.

  manage.py cancel_all                        say what would be cancelled
  manage.py cancel_all --yes                  everywhere
  manage.py cancel_all --user anna --yes      one tenant's; --connection UUID, --signal ID likewise

The last line on standard output is JSON: {"cancelled": n}."""


class Command(BaseCommand):
    help = HELP
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.add_argument("--user", help="only this tenant's, by user name")
        parser.add_argument("--connection", type=UUID, help="only of this connection (UUID)")
        parser.add_argument("--signal", type=int, help="only of this signal (number)")
        parser.add_argument("--yes", action="store_true", help="do it")

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
        self.stderr.write(f"{len(requested)} of {len(ids)} entries are cancelled or asked for.")
        self.stdout.write(json.dumps({"cancelled": len(requested)}))
