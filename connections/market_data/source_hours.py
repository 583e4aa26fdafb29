"""The trading hours that brokers state of a price source's pairs."""

from collections.abc import Iterable

from django.db.models import Q

from brokers.trading_hours import StoredHours
from connections.models import ExecutionConnection, Instrument


def hours_of_pairs(source_id: int, pairs: Iterable[str]) -> dict[str, list[StoredHours]]:
    """Return the hours of a source's pairs, as far as brokers state them.

    These are the broker that provides its prices, and those of the accounts that use it.
    """
    accounts = ExecutionConnection.objects.live().filter(
        Q(data_connection=source_id) | Q(price_source=source_id)
    )
    books = accounts.exclude(instrument_book="").values("instrument_book")
    listed = Instrument.objects.filter(book__in=books, pair__in=set(pairs), hours__isnull=False)
    found: dict[str, list[StoredHours]] = {}
    for pair, hours in listed.values_list("pair", "hours"):
        if hours is not None:
            found.setdefault(pair, []).append(hours)
    return found
