"""An event with what its envelope needs to know."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from buses.catalogue import EventData
from signals.models import Signal


class Made(NamedTuple):
    """An event of one row. part: distinguishes it from other events of the same row.

    account_id, tenant_id: as in `Envelope`.
    """

    row_id: int
    time: datetime
    subject: str
    event: EventData
    account_id: str | None = None
    tenant_id: int | None = None
    part: str = ""


class Plan(NamedTuple):
    """What a signal's provider calls it; None: nothing."""

    strategy_id: str | None
    trade_plan_id: str | None


NO_PLAN = Plan(None, None)


def plans_of(signal_ids: Collection[int | None]) -> dict[int | None, Plan]:
    """Return strategy and plan of these signals."""
    found = Signal.objects.filter(pk__in={one for one in signal_ids if one is not None})
    return {
        pk: Plan(strategy or None, plan or None)
        for pk, strategy, plan in found.values_list("pk", "strategy_id", "trade_plan_id")
    }
