"""How long an order pauses, measured so that a busy machine changes nothing."""

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from common.db.sql import database_now
from execution.models import Order


class Pause(NamedTuple):
    """The seconds of a pause. It began between two looks at the clock, which may be far apart."""

    least: float
    most: float

    def overlaps(self, least: float, most: float) -> bool:
        """Whether it may have been between these seconds."""
        return least <= self.most and self.least <= most


def pause_after(act: Callable[[], object], *, until: str = "due_at") -> Pause:
    """Do something to the only order; return the pause that begins with it. until: the column."""
    before = database_now()
    act()
    after = database_now()
    end: datetime | None = Order.objects.values_list(until, flat=True).get()
    assert end is not None, "it does not wait"
    return Pause((end - after).total_seconds(), (end - before).total_seconds())
