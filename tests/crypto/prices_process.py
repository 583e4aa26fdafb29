"""The prices process with a fake exchange: `python -m tests.crypto.prices_process NAME BASE`."""

import sys

from brokers.base import BrokerAdapter
from brokers.crypto.adapter import CryptoAdapter
from brokers.crypto.client import ClientPool
from brokers.registry import BUILT_IN


def adapter() -> BrokerAdapter:
    """Return a crypto adapter that reaches the fake exchange."""
    from tests.crypto.factories import unlimited_rates

    exchange, base = sys.argv[1:]
    return CryptoAdapter(ClientPool({exchange: base}, unlimited_rates))


if __name__ == "__main__":
    import django
    from django.core.management import call_command

    BUILT_IN["crypto"] = "tests.crypto.prices_process:adapter"
    django.setup()
    call_command("prices")
