"""Users and accounts: `python -m tests.faults.seeding NUMBER BOOKS_URL`, once per run.

The broker's books get only the same account numbers.
"""

import sys
from decimal import Decimal

import django
from django.db import connection

from tests.faults.postgres_clusters import at

FEEDS = (50, 200, 500, 1_000)


class Sql:
    """The part of a BenchEnvironment that BenchData needs."""

    def sql(self, statement: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement)


def ours(connections: int) -> None:
    """Create feeds of several sizes; the accounts of a smaller one also follow the larger ones."""
    from benchmarks.data import BenchData

    data = BenchData(Sql())  # type: ignore[arg-type]  # it only uses sql()
    for subscribers in FEEDS:
        if subscribers <= connections:
            data.feed(subscribers)
    data.connections(connections)  # those beyond the largest feed subscribe to nothing


def books(connections: int) -> None:
    """Create the accounts at the broker."""
    from brokers.paper.seed import list_instruments, open_accounts

    list_instruments()
    numbers = [f"{number:07d}" for number in range(connections)]
    open_accounts(numbers, balance=Decimal(100_000))


if __name__ == "__main__":
    django.setup()
    number, books_url = int(sys.argv[1]), sys.argv[2]
    ours(number)
    with at(books_url):
        books(number)
