"""manage.py seed_demo: add the demo's users and accounts, without running the demo."""

import json
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from common.clocks import machine_time
from demo import accounts
from demo.seeding import seed


class Command(BaseCommand):
    """Write the demo's users and accounts."""

    help = (
        "Write the demo's users into this installation's database: an operator, 50 tenants, 152"
        " paper accounts of all kinds, presets, a feed. A second run adds only what is missing."
        " Their password is public, so this is refused in production. `make demo` does it too."
    )
    requires_system_checks = ()

    def handle(self, **_: Any) -> None:
        """Write them and print who can sign in."""
        if settings.FILLCAST_ENV == "production":
            sys.exit("This is a production installation: demo users would open it to everyone.")
        began = machine_time()
        created = seed()
        seconds = round(machine_time() - began, 2)
        self.stderr.write(
            f"Sign in as {accounts.OPERATOR} (operator), {accounts.NAMES[0]} or "
            f"{accounts.NAMES[1]} (tenants)"
            f" with the password {accounts.PASSWORD}"
        )
        result = {
            "ok": True,
            "accounts": created,
            "tenants": len(accounts.NAMES),
            "seconds": seconds,
        }
        self.stdout.write(json.dumps(result))
