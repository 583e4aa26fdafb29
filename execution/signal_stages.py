"""How long the orders of a signal took to each stage, from the moment the first was written."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.postgres.aggregates import ArrayAgg
from django.contrib.postgres.fields import ArrayField
from django.db.models import (
    Aggregate,
    Count,
    DateTimeField,
    F,
    FloatField,
    Func,
    Min,
    Q,
    QuerySet,
    Subquery,
    Value,
)
from django.db.models.functions import Greatest, Mod

from execution.models import Order, Status

WRITTEN_WITHIN = timedelta(seconds=20)  # exits, after the first order, by the publication
MOST = 20_000  # orders that are read; of more, every second, third … in the order of their queue


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage. count: orders that have reached it; times: milliseconds until p50, p99 and last
    of them had; None: no order has.
    """

    key: str
    name: str
    text: str
    count: int
    p50: float | None
    p99: float | None
    last: float | None


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages of a signal. every: 1, or n if only every nth order was read.

    answered_ms: of each acknowledged order, from its own row to its acknowledgement.
    """

    stages: Sequence[Stage]
    every: int
    answered_ms: Sequence[float]

    @property
    def orders(self) -> int:
        """The number of orders that were read."""
        return self.stages[0].count


# Column, name and what it says. A stage's time is stored by the statement that writes its rows.
STAGES = (
    ("created_at", "Written", "Its row is written, in the transaction that publishes the signal."),
    ("enqueued_at", "Due", "It may be executed, and a worker is notified of it. An entry that"
     " waits for a condition or a trigger is due later."),
    ("validated_at", "Claimed", "A worker has locked it, sized it and checked all limits."),
    ("submitted_at", "Submitted", "Its intent is stored; it is sent right after that commit."),
    ("acknowledged_at", "Acknowledged", "The broker’s answer is stored."),
    ("filled_at", "Filled", "All of its quantity is filled; the last fill is stored."),
    ("done_at", "Ended", "Its last change is stored: filled, refused, cancelled or expired. Nothing"
     " is left to do."),
)  # fmt: skip


class _Percentiles(Aggregate):
    """The times by which 50 %, 99 % and all of the orders had reached a stage.

    Times are compared as they are stored, which is ten times as fast as milliseconds.
    """

    template = "percentile_disc(ARRAY[0.5, 0.99, 1]) WITHIN GROUP (ORDER BY %(expressions)s)"
    output_field = ArrayField(DateTimeField())


class _Milliseconds(Func):
    """An interval as milliseconds."""

    template = "extract(epoch FROM %(expressions)s)::float8 * 1000"
    output_field = FloatField()


def stages_of(orders: QuerySet[Order], *, count: int) -> Stages:
    """Return the stages of these orders by one statement; of skipped ones, nothing is counted, nor
    of exits that came later, when a CLOSE was requested again or an entry filled late.

    count: about how many there are. Reads at most MOST of them.
    """
    every = max(-(-count // MOST), 1)
    all_of_them = orders.order_by().annotate(all=Value(1)).values("all")
    first = all_of_them.annotate(first=Min("created_at")).values("first")
    chosen = orders.exclude(status=Status.SKIPPED).order_by()
    is_entry = Q(position__isnull=True)  # also one that a route wrote for another account, later
    chosen = chosen.filter(is_entry | Q(created_at__lt=Subquery(first) + WRITTEN_WITHIN))
    if every > 1:
        chosen = chosen.alias(place=Mod("pk", every)).filter(place=0)
    # `enqueued_at` is the start of the statement that writes the row.
    chosen = chosen.annotate(due=Greatest("enqueued_at", "created_at"))
    columns = {name: F("due" if name == "enqueued_at" else name) for name, _, _ in STAGES}
    found: dict[str, Any] = chosen.aggregate(
        began=Min("created_at"),
        answered=ArrayAgg(
            _Milliseconds(F("acknowledged_at") - F("created_at")),
            filter=Q(acknowledged_at__isnull=False),
            default=Value([], ArrayField(FloatField())),
        ),
        **{f"{name}_count": Count(column) for name, column in columns.items()},
        **{f"{name}_times": _Percentiles(column) for name, column in columns.items()},
    )
    began = found["began"]
    stages = [_stage(found, began, *stage) for stage in STAGES]
    return Stages(stages, every, found["answered"])


def _stage(
    found: dict[str, Any], began: datetime | None, column: str, name: str, text: str
) -> Stage:
    times = found[f"{column}_times"]
    ms = [(at - began).total_seconds() * 1000 for at in times] if times and began else [None] * 3
    return Stage(column.removesuffix("_at"), name, text, found[f"{column}_count"], *ms)
