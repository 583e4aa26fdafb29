"""What the paper broker offers beside the adapter: prices go in, and an owner acts by own hand."""

from brokers.paper.desk import owner_closes
from brokers.paper.seed import fund, list_instruments, open_account, open_accounts
from brokers.paper.ticks import forget_prices, on_quotes

__all__ = [
    "forget_prices",
    "fund",
    "list_instruments",
    "on_quotes",
    "open_account",
    "open_accounts",
    "owner_closes",
]
