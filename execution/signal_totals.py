"""The notional of a signal over all accounts, for its feed's owner and for operators."""

from datetime import timedelta
from decimal import Decimal

from django.db import transaction
from django.db.models import Q

from common.db.sql import array, database_now, rows
from common.money import rounded_apart
from connections.selectors import reference_sources
from execution.models import AT_BROKER, Order, Status
from execution.submission.rows import QUOTE_MAX_AGE_SECONDS
from execution.submission.signal_limits import SENT
from prices.selectors import conversion, newest_quotes, pairs_between
from signals.models import Signal
from signals.totals import SignalTotal
from users.tenancy import for_all_tenants


def signal_total(signal: Signal) -> SignalTotal:
    """Return what all accounts have entered for a signal whose feed limits it, as claims count it.

    Rates are the newest of the sources that the feed's prices are compared with, so that it shows
    nothing of another tenant's own; a claim uses those of its account's own.
    """
    feed = signal.feed
    maximum, currency = feed.max_signal_notional, feed.max_signal_currency
    assert maximum is not None  # `totals.total_of` has checked
    with transaction.atomic(), for_all_tenants():
        now = database_now()
        sent = {row.currency: row.notional for row in rows(SENT, (array([signal.pk]),))}
        pairs = {pair for source in sent for pair in pairs_between(source, currency)}
        oldest = now - timedelta(seconds=QUOTE_MAX_AGE_SECONDS)
        others = _owners(signal) - {feed.owner_id}
        sources = reference_sources(
            feed.pk, owner_id=feed.owner_id, reaches_admins=feed.reaches_admins
        )
        quotes = newest_quotes(list(sources), pairs, received_since=oldest)
    total, unconverted = Decimal(0), {}
    for source, notional in sorted(sent.items()):
        known = conversion(quotes, source, currency)
        if known is not None:
            total += notional * known.rate
        elif notional:
            unconverted[source] = notional
    shown = rounded_apart(total, maximum)
    return SignalTotal(shown, maximum, currency, now, unconverted, len(others))


def _owners(signal: Signal) -> set[int | None]:
    """Return the owners of the accounts whose entries are in the total."""
    works = Q(status__in=[*AT_BROKER, Status.SUBMITTING, Status.UNKNOWN], quantity__gt=0)
    entries = Order.objects.filter(signal=signal, leg__startswith="entry")
    found = entries.filter(works | Q(filled_quantity__gt=0))
    owners = found.values_list("connection__user_id", "connection__admin_id").distinct()
    return {user_id or admin_id for user_id, admin_id in owners}
