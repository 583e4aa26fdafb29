"""The broker type `bank` of a third party: the paper broker's book, as if its money were real.

`tests/fakes/bank_plugin` registers it by an entry point. What is for accounts with real money, such
as a paper twin, can be tried beside it.
"""

from dataclasses import replace

from brokers.account_capabilities import Capabilities
from brokers.paper import capabilities
from brokers.paper.adapter import PaperAdapter
from brokers.paper.form import FORM as PAPER_FORM
from brokers.types import ConnectionSpec

FORM = replace(PAPER_FORM, label="Bank", account="The number of your account.")


def create() -> "Bank":
    """Make the adapter, for the registry."""
    return Bank()


def capabilities_of(spec: ConnectionSpec) -> Capabilities:
    """Return what an account can do. Its events come by the stream of the type `paper`."""
    return replace(capabilities.capabilities_of(spec), event_stream=False)


class Bank(PaperAdapter):
    """Accounts at the paper broker whose type is not `paper`."""

    broker_type = "bank"
    form = FORM

    def capabilities(self, spec: ConnectionSpec) -> Capabilities:
        """Return what the account can do, by its connection's settings."""
        return capabilities_of(spec)
