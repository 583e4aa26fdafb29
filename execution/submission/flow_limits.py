"""Limits of what an account sends: orders a minute, a day's sums, net exposure, usual sizes. Pure.

Each counts what was sent before and the entries that the same bundle has allowed (`recent.py`).
`limits.py` has the order in which all are checked, docs/limits.md an example of each.
"""

from collections.abc import Callable, Collection, Sequence
from decimal import Decimal
from statistics import median

from common.figure_names import BASE_UNIT, OF_EQUITY, Limit
from common.money import plain, rounded_apart, to_stored
from common.reason_codes import Code
from execution.submission.limit_lists import SIZED, SizedEntry, Subject
from execution.submission.recent import BundleFlow, NewEntry, RecentRow
from execution.submission.rows import OrderRow
from execution.submission.sizing import HUNDRED, ZERO, Denial

LEAST_ENTRIES = 5
"""Fewer entries have no usual size."""


def same_trade(
    row: OrderRow, entry: NewEntry, recent: RecentRow, flow: BundleFlow
) -> Denial | None:
    """Deny a second entry of a feed, symbol and side within the window. Figures: seconds."""
    window = row.terms.limits.same_trade_window_seconds
    if window is None:
        return None
    age = recent.same_trade_age
    if (entry.feed_id, entry.pair, entry.sign) in flow.trades:
        age = ZERO
    if age is None or age >= window:
        return None
    detail = f"{row.side} {entry.pair}"
    shown = rounded_apart(age, Decimal(window), places=0)
    return Denial(Code.SAME_TRADE, shown, Decimal(window), detail)


def per_minute(row: OrderRow, recent: RecentRow, flow: BundleFlow) -> Denial | None:
    """Deny an entry, or a slice of one, if the account has sent too many in the last minute."""
    maximum, sent = row.terms.limits.max_orders_per_minute, recent.sent_in_minute + flow.sent
    if maximum is None or sent < maximum:
        return None
    return Denial(Code.MAX_ORDERS_PER_MINUTE, Decimal(sent), Decimal(maximum))


def unusual_size(row: OrderRow, quantity: Decimal, recent: RecentRow) -> Denial | None:
    """Deny a quantity far above the account's usual one. Figures: multiples of it."""
    maximum = row.terms.limits.max_size_multiple
    if maximum is None:
        return None
    usual = usual_quantity(recent.last_quantities or ())
    if usual is None or quantity <= maximum * usual:
        return None
    detail = f"{plain(quantity)}, and the median is {plain(usual)}"
    value = rounded_apart(quantity / usual, maximum)
    return Denial(Code.SIZE_UNUSUAL, value, maximum, detail)


def usual_quantity(last: Sequence[Decimal]) -> Decimal | None:
    """Return the median of an account's last entries in a symbol; None: there are too few."""
    return Decimal(median(last)) if len(last) >= LEAST_ENTRIES else None


def daily_sums(
    row: OrderRow, entry: NewEntry, recent: RecentRow, flow: BundleFlow
) -> Denial | None:
    """Deny an entry beyond the trading day's notional or volume."""
    if (maximum := row.terms.limits.max_daily_notional) is not None:
        notional = to_stored(recent.day_notional + flow.notional + entry.notional)
        if notional > maximum:
            value = rounded_apart(notional, maximum)
            return Denial(Code.DAILY_NOTIONAL, value, maximum, row.currency or "")
    if (maximum := row.terms.limits.max_daily_volume) is not None:
        volume = recent.day_volume + flow.volumes.get(entry.pair, ZERO) + entry.quantity
        if volume > maximum:
            of = Limit(f"Volume of the day in {entry.pair}", BASE_UNIT)
            return Denial(Code.DAILY_VOLUME, volume, maximum, entry.pair, limit=of)
    return None


def currency_exposure(
    row: OrderRow, entry: NewEntry, recent: RecentRow, flow: BundleFlow
) -> Denial | None:
    """Deny an entry after which too much is held or owed in one currency. Figures: % of equity."""
    maximum = row.terms.limits.max_currency_exposure_percent
    if maximum is None:
        return None
    found = _beyond(row, entry, recent, flow, maximum)
    if found is None:
        return None
    currency, percent = found
    of = Limit(f"Exposure to {currency}", OF_EQUITY)
    value = rounded_apart(percent, maximum)
    return Denial(Code.CURRENCY_EXPOSURE, value, maximum, currency, limit=of)


def correlation_warning(row: OrderRow, entry: NewEntry, recent: RecentRow, flow: BundleFlow) -> str:
    """Return a warning if the entry adds to much that moves together; empty: it does not.

    Symbols that share a currency move together.
    """
    maximum = row.terms.limits.correlated_exposure_warning_percent
    if maximum is None:
        return ""
    found = _beyond(row, entry, recent, flow, maximum)
    if found is None:
        return ""
    currency, percent = found
    shown = plain(rounded_apart(percent, maximum))
    return f"correlated exposure to {currency}: {shown} % of equity, above {plain(maximum)} %"


def _beyond(
    row: OrderRow,
    entry: NewEntry,
    recent: RecentRow,
    flow: BundleFlow,
    maximum: Decimal,
) -> tuple[str, Decimal] | None:
    """Return a currency whose net exposure the entry raises beyond a percent of equity, and that.

    The account's own currency is no exposure.
    """
    assert row.equity is not None  # `eligibility.cannot_trade` comes first
    for held, (currency, value) in zip(
        (recent.net_base, recent.net_quote), entry.parts, strict=True
    ):
        before = held + flow.nets.get(currency, ZERO)
        after = abs(before + value)
        if currency == row.currency or after <= abs(before):
            continue
        if to_stored(after * HUNDRED) > maximum * row.equity:
            return currency, after * HUNDRED / row.equity if row.equity > 0 else Decimal(10) ** 9
    return None


FLOW_LIMITS: tuple[tuple[Callable[[SizedEntry], Denial | None], Collection[Subject]], ...] = (
    (lambda e: same_trade(e.row, e.added, e.recent, e.exposure.flow), {Subject.ENTRY}),
    (lambda e: per_minute(e.row, e.recent, e.exposure.flow), {Subject.ENTRY}),
    (lambda e: unusual_size(e.row, e.quantity, e.recent), SIZED),
    (lambda e: daily_sums(e.row, e.added, e.recent, e.exposure.flow), SIZED),
    (lambda e: currency_exposure(e.row, e.added, e.recent, e.exposure.flow), SIZED),
)
"""In the order in which they are checked, among those of `limits.SIZE`."""
