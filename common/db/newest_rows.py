"""Pages of rows that belong to several owners, such as accounts, each of which has an index.

`WHERE owner IN (…) ORDER BY id DESC LIMIT 51` reads the table backwards until it has met 51 rows of
these owners: for those who have been idle, all that everyone else did since.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Self, TypeVar

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import BigIntegerField, F, Func, Model, OuterRef, QuerySet, Subquery
from django.db.models.expressions import OrderBy

NUMBER = "pk"
ORDERINGS = {"pk": NUMBER, "id": NUMBER, "-pk": f"-{NUMBER}", "-id": f"-{NUMBER}"}
MOST_OWNERS = 1_000  # to look at each of more takes longer than to read all rows backwards, mostly
Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True, slots=True)
class NewestRows(Generic[Row]):
    """Rows by number, newest or oldest first: the first of each owner by its index, then merged.

    It has what a paginator uses of a query set. owners: query set of those whose rows these are.
    owner: the rows' field with the owner. Owners share no row.
    """

    rows: QuerySet[Row]
    owners: QuerySet[Any]
    owner: str
    ordering: str = f"-{NUMBER}"

    def order_by(self, ordering: str) -> Self:
        """Return the same rows by one of ORDERINGS."""
        return replace(self, ordering=ORDERINGS[ordering])

    def filter(self, *conditions: Any, **fields: Any) -> Self:
        """Return the rows that meet conditions, too."""
        return replace(self, rows=self.rows.filter(*conditions, **fields))

    def __getitem__(self, part: slice) -> Sequence[Row]:
        """Return the rows from `part.start` to `part.stop`, which both count from the first.

        In one statement: a row that leaves the filter meanwhile must not make the page shorter.
        """
        owners = self.owners.order_by()
        count = owners[: MOST_OWNERS + 1].count()
        if count > MOST_OWNERS:
            return list(self.rows.order_by(self.ordering)[part])
        of_owner = self.rows.filter(**{self.owner: OuterRef(NUMBER)}).order_by(self.ordering)
        if count > part.stop:  # so many rows are of so many owners at most: those who come first
            first_of_owner = Subquery(of_owner.values(NUMBER)[:1])
            in_order = owners.alias(first=first_of_owner).order_by(self._by("first"))
            owners = owners.filter(pk__in=in_order.values(NUMBER)[: part.stop])
        first = ArraySubquery(of_owner.values(NUMBER)[: part.stop])
        numbers = owners.values_list(
            Func(first, function="unnest", output_field=BigIntegerField()), flat=True
        )
        return list(self.rows.filter(pk__in=numbers).order_by(self.ordering)[part])

    def _by(self, name: str) -> OrderBy:
        """Return this ordering of another column; owners without a row come last."""
        is_descending = self.ordering.startswith("-")
        return F(name).desc(nulls_last=True) if is_descending else F(name).asc(nulls_last=True)
