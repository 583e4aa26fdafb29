"""Compare what a feed's record shows with the results that were sealed. ADR 0040.

Each final trade must be as the newest link about its result states. The figures must be those of
the trades. How many follow the feed, and until when it was counted, is of the moment: no link has
it.
"""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from analytics.models import FeedRecord, FeedTrade
from analytics.records import figures as record_figures
from analytics.records.figures import Figures, RecordTrade, figures_of
from analytics.records.selectors import in_order, in_order_then
from common.db.sql import rows
from common.hash_chain import Findings
from signals.records.results import SEALED_RESULTS_SQL
from signals.records.selectors import WITHHELD

_TRADES = FeedTrade._meta.db_table
_CHANGED = f"""
SELECT l.number, l.signal_id, l.terms, t.signal_id IS NULL AS is_gone,
  t.feed_id <> l.feed_id AS is_moved, t.is_final, signals_record_result(t) AS now
FROM ({SEALED_RESULTS_SQL}) l LEFT JOIN {_TRADES} t ON t.signal_id = l.signal_id
WHERE t.signal_id IS NULL OR t.feed_id <> l.feed_id OR NOT t.is_final
  OR signals_record_result(t) IS DISTINCT FROM l.terms
ORDER BY l.number
"""
_NOT_SEALED = f"""
SELECT t.signal_id FROM {_TRADES} t LEFT JOIN ({SEALED_RESULTS_SQL}) l
  ON l.signal_id = t.signal_id
WHERE t.feed_id = %(feed)s AND t.is_final AND l.signal_id IS NULL ORDER BY t.signal_id
"""
_TRIGGER = f"""
SELECT FROM pg_trigger WHERE tgrelid = '{_TRADES}'::regclass AND tgname = 'record_result'
  AND tgenabled IN ('O', 'A')
"""


def check_results(found: Findings, feed_id: int) -> None:
    """Add what the record of a feed shows otherwise than it is sealed."""
    for row in rows(_CHANGED, {"feed": feed_id}):
        found.add(_sentence(row))
    for row in rows(_NOT_SEALED, {"feed": feed_id}):
        found.add(
            f"The result of S-{row.signal_id} is final and has no link: it was written while the"
            " triggers were off."
        )
    if not rows(_TRIGGER):
        found.add(f"The trigger record_result of {_TRADES} is missing or switched off.")
    _check_figures(found, feed_id)


def _sentence(row: Any) -> str:
    name = f"The result of S-{row.signal_id} in link {row.number}"
    if row.is_gone:
        return f"{name} was removed from the record."
    if row.is_moved:
        return f"{name} was moved to another feed."
    both = sorted({**row.terms, **row.now})
    changed = [
        f"{field} {row.now.get(field, 'nothing')} (sealed {row.terms.get(field, 'nothing')})"
        for field in both
        if row.terms.get(field) != row.now.get(field)
    ]
    if not changed:
        return f"{name} is not final in the record any more: it could be computed again."
    return f"{name} is another than the record shows: {', '.join(changed)}."


def _check_figures(found: Findings, feed_id: int) -> None:
    stored = FeedRecord.objects.filter(pk=feed_id).first()
    if stored is None:
        return  # the page shows none, and the next run computes them
    then = in_order_then(feed_id, stored.until - WITHHELD)
    for name, values, trades in (
        ("figures", stored.figures, in_order(feed_id)),
        ("delayed figures", stored.delayed, then),
    ):
        # What is not computed is not shown either.
        if values and (changed := _changed(record_figures.from_json(values), trades)):
            found.add(f"The {name} of the record are not those of its trades: {changed}.")


def _changed(shown: Figures, trades: Iterable[RecordTrade]) -> str:
    """Name the figures that are shown otherwise than these trades make them."""
    right = figures_of(trades)
    names = [field.name for field in fields(Figures)]
    return ", ".join(name for name in names if getattr(shown, name) != getattr(right, name))
