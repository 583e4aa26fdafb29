"""The prices process with exchanges of ours: `python -m tests.crypto.prices_process NAME BASE`."""

import sys

from brokers.base import BrokerAdapter
from brokers.crypto.adapter import Crypto
from brokers.crypto.clients import Clients
from brokers.registry import BUILT_IN


def adapter() -> BrokerAdapter:
    """Its adapter of the kind: it reaches the double."""
    from tests.crypto.cast import plenty

    exchange, base = sys.argv[1:]
    return Crypto(Clients({exchange: base}, plenty))


if __name__ == "__main__":
    import django
    from django.core.management import call_command

    BUILT_IN["crypto"] = "tests.crypto.prices_process:adapter"
    django.setup()
    call_command("prices")
