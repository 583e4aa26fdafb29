"""The notional of a signal over all accounts, for its feed's owner and for operators."""

from datetime import timedelta
from decimal import Decimal

from django.db import transaction

from common.money import rounded_apart
from common.sql import array, database_now, rows
from connections.selectors import reference_source_ids
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
        sources = reference_source_ids(
            feed.pk, owner_id=feed.owner_id, reaches_admins=feed.reaches_admins
        )
        quotes = newest_quotes(sources, pairs, received_since=oldest)
    total, unconverted = Decimal(0), {}
    for source, notional in sorted(sent.items()):
        known = conversion(quotes, source, currency)
        if known is not None:
            total += notional * known.rate
        elif notional:
            unconverted[source] = notional
    return SignalTotal(rounded_apart(total, maximum), maximum, currency, now, unconverted)
