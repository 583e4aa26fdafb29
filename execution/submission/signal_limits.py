"""The limit of a feed: the notional of a signal over all accounts that take it.

The accounts of a signal are claimed by several processes at once. So a claim locks the signal while
it decides, and only if the feed has such a limit. `signal_budget` and `signal_denial` are pure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from common.db.sql import Query, array, rows
from common.figure_names import Limit
from common.money import rounded_apart, to_stored
from common.reason_codes import Code
from connections.selectors import not_twin_sql
from execution.base.statements import counts_as_live_sql
from execution.submission.rows import QuoteRow, SignalRow
from execution.submission.sizing import ZERO, Denial
from prices.selectors import conversion

_SIGNAL_NOTIONAL = 0x46434120  # namespace of the advisory locks

# In the order of the keys, so that two claims do not wait for each other.
LOCK = """
SELECT pg_advisory_xact_lock(%s::int, key) FROM (
  SELECT hashint8(id) AS key FROM unnest(%s::bigint[]) AS s (id) ORDER BY 1) keys
"""


class _SentRow(NamedTuple):
    signal_id: int
    currency: str
    notional: Decimal


# Paper twins move no market: a signal's limit neither counts nor binds them.
SENT = Query(
    _SentRow,
    f"""
SELECT signal_id, split_part(pair, '/', 2) AS currency, sum(coalesce(expected_price, 0)
  * CASE WHEN status = 'PENDING' OR {counts_as_live_sql("execution_order")}
    THEN coalesce(quantity, 0) ELSE filled_quantity END) AS notional
FROM execution_order
WHERE signal_id = ANY(%s::bigint[]) AND leg LIKE 'entry%%'
  AND (status <> 'PENDING' OR leg <> 'entry')  -- slices are planned, and may still be sent
  AND {not_twin_sql("connection_id")}
GROUP BY signal_id, 2
""",
)


@dataclass(slots=True)
class SignalTotals:
    """What the accounts have sent for signals with a limit: by signal, then by quote currency."""

    sent: dict[int, dict[str, Decimal]] = field(default_factory=dict)

    def add(self, signal_id: int, currency: str, notional: Decimal) -> None:
        """Count an allowed entry, or what was sent before."""
        of_signal = self.sent.setdefault(signal_id, {})
        of_signal[currency] = of_signal.get(currency, ZERO) + notional


@dataclass(frozen=True, slots=True)
class SignalBudget:
    """What an entry may add to its signal. maximum, used: in `currency`.

    rate: this currency for one of the pair's quote currency.
    """

    maximum: Decimal
    used: Decimal
    currency: str
    rate: Decimal


def lock_signal_totals(signals: Iterable[SignalRow]) -> SignalTotals:
    """Lock the signals that have a limit until the transaction ends; return what was sent for them.

    Call it after the connections and before any order is locked: a holder of orders that waited
    here could wait for a claim that waits for these orders.
    """
    totals = SignalTotals()
    limited = array(signal.id for signal in signals if signal.max_signal_notional is not None)
    if limited == "{}":
        return totals
    rows(LOCK, (_SIGNAL_NOTIONAL, limited))
    for row in rows(SENT, (limited,)):  # a later statement: it sees what was committed before
        totals.add(row.signal_id, row.currency, row.notional)
    return totals


def signal_budget(
    signal: SignalRow, quote_currency: str, totals: SignalTotals, quotes: Mapping[str, QuoteRow]
) -> SignalBudget | Denial:
    """Return what an entry may add to its signal, which has a limit.

    quotes: those of the account's price source that are not stale. NO_CONVERSION_RATE: it does not
    quote the limit's currency.
    """
    assert signal.max_signal_notional is not None
    currency, used, rate = signal.max_signal_currency, ZERO, ZERO
    sent = totals.sent.get(signal.id, {})
    for source in (*(sent.keys() - {quote_currency}), quote_currency):  # its own rate comes last
        known = conversion(quotes, source, currency)
        if known is None:
            return Denial(Code.NO_CONVERSION_RATE, detail=f"{source} {currency}")
        rate = known.rate
        used += sent.get(source, ZERO) * rate
    return SignalBudget(signal.max_signal_notional, used, currency, rate)


def signal_denial(budget: SignalBudget, notional: Decimal) -> Denial | None:
    """Deny an entry beyond its signal's budget. notional: in the pair's quote currency.

    Its figures show only this account's notional: what others have sent is not its owner's to see.
    """
    own = to_stored(notional * budget.rate)
    if to_stored(budget.used) + own <= budget.maximum:
        return None
    detail = f"{budget.currency}, together with the other accounts of the feed"
    value = rounded_apart(own, budget.maximum)
    of = Limit("This account's notional", budget.currency)
    return Denial(Code.SIGNAL_NOTIONAL, value, budget.maximum, detail, limit=of)
