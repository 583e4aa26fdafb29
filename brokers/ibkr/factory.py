"""Creates the adapter of Interactive Brokers; its form and capabilities need no ib_async."""

from typing import TYPE_CHECKING

from brokers.ibkr.capabilities import capabilities_of
from brokers.ibkr.form import FORM

if TYPE_CHECKING:
    from brokers.ibkr.adapter import IbkrAdapter

__all__ = ["FORM", "capabilities_of", "create"]


def create() -> "IbkrAdapter":
    """Return this process's adapter. Raises ImportError if ib_async is missing."""
    from brokers.ibkr.adapter import IbkrAdapter

    return IbkrAdapter()
