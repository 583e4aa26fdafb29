"""manage.py seed_demo: the demo's people and accounts, without the demo."""

import json
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from common.clocks import machine_time
from demo import accounts
from demo.seeding import seed


class Command(BaseCommand):
    """Seed."""

    help = (
        "Write the demo's people into this installation's database: an operator, 50 tenants, 152"
        " paper accounts of all kinds, presets, a feed. Run again, it adds only what is missing."
        " Their password is known to everyone, so not in production. `make demo` does this itself."
    )
    requires_system_checks = ()

    def handle(self, **_: Any) -> None:
        """Seed, and tell who can log in."""
        if settings.FILLCAST_ENV == "production":
            sys.exit("This is a production installation: demo users would open it to everyone.")
        began = machine_time()
        created = seed()
        seconds = round(machine_time() - began, 2)
        self.stderr.write(
            f"Log in as {accounts.OPERATOR} (operator), {accounts.NAMES[0]} or "
            f"{accounts.NAMES[1]} (tenants)"
            f" with the password {accounts.PASSWORD}"
        )
        told = {"ok": True, "accounts": created, "tenants": len(accounts.NAMES), "seconds": seconds}
        self.stdout.write(json.dumps(told))
