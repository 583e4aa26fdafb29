"""Load orders with their connections, accounts, presets and subscriptions."""

from collections.abc import Iterable, Sequence
from typing import Any

from common.db.sql import array, columns, rows
from connections.entry_limits import EntryLimits
from execution.submission import claim_sql as sql
from execution.submission.rows import OrderRow, OwnerTerms


def load_orders(order_ids: Iterable[int]) -> list[OrderRow]:
    """Return these orders, by priority and id, whatever their status is."""
    return with_terms(rows(sql.LOAD, (array(order_ids),), planned_once=True))


def with_terms(loaded: Sequence[Any]) -> list[OrderRow]:
    """Return rows of `claim_sql.LOAD` together with what their presets and subscriptions set.

    Most accounts of a bundle share a few presets, and few subscriptions have limits of their own.
    So the terms are read once for each combination, and its orders share them: the decisions about
    them read memory that is in the processor's cache already.
    """
    wanted = list({(row.preset_id, row.limiting_subscription_id) for row in loaded})
    if not wanted:
        return []
    found = rows(sql.TERMS, columns(wanted, 2), planned_once=True)
    terms = {(row.preset_id, row.limiting_subscription_id): _terms_of(row) for row in found}
    return [
        OrderRow._make((*row, terms[row.preset_id, row.limiting_subscription_id])) for row in loaded
    ]


def _terms_of(row: Any) -> OwnerTerms:
    limits = EntryLimits(**{name: getattr(row, name) for name in EntryLimits._fields})
    others = {name: getattr(row, name) for name in OwnerTerms._fields if name != "limits"}
    return OwnerTerms(**others, limits=limits)
