"""People and accounts: `python -m tests.faults.seeding ours|books NUMBER`, once a run.

The broker's books get the same accounts by number, and nothing else.
"""

import sys
from decimal import Decimal

import django
from django.db import connection

FEEDS = (50, 200, 500, 1_000)


class Sql:
    """What the benches' world needs of its place."""

    def sql(self, statement: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement)


def ours(connections: int) -> None:
    """Feeds of several sizes; the accounts of a smaller one follow the larger ones, too."""
    from benchmarks.data import BenchData

    world = BenchData(Sql())  # type: ignore[arg-type]  # all that it asks of its place is sql()
    for subscribers in FEEDS:
        if subscribers <= connections:
            world.feed(subscribers)


def books(connections: int) -> None:
    """The accounts at the broker."""
    from brokers.paper.seed import list_instruments, open_accounts

    list_instruments()
    numbers = [f"{number:07d}" for number in range(connections)]
    open_accounts(numbers, balance=Decimal(100_000))


if __name__ == "__main__":
    django.setup()
    {"ours": ours, "books": books}[sys.argv[1]](int(sys.argv[2]))
