"""Percentiles of values that are added up over days, to within 2.5 %. Pure.

A value counts in a bucket: 0 below FLOOR, else 1.05 times as wide as the one before, with the
value's sign. So the buckets of days, brokers or accounts can be added, which percentiles cannot.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal

FLOOR, GROWTH = Decimal("0.01"), Decimal("1.05")
WIDEST = 999  # of a bucket's number: 0.01 · 1.05^998 is more than any value
SPAN = 2 * WIDEST + 2
PIPS, BASIS_POINTS, TO_WIRE, TO_FILL = KINDS = range(4)
Counts = Mapping[int, int]


def bucket_sql(value: str) -> str:
    """Return SQL of the number of a value's bucket; NULL of NULL. value: a double precision."""
    number = f"1 + round(ln(abs({value}) / {FLOOR}) / ln({GROWTH}))"
    return (
        f"CASE WHEN abs({value}) < {FLOOR} THEN 0"
        f" ELSE (sign({value}) * least({number}, {WIDEST}))::int END"
    )


def key_sql(kind: int, bucket: str) -> str:
    """Return SQL of the number under which a bucket of a kind of value is stored."""
    return f"{kind * SPAN + WIDEST + 1} + {bucket}"


def by_kind(keys: Iterable[tuple[int, int]]) -> dict[int, dict[int, int]]:
    """Return the counts of each kind's buckets from (key, count)."""
    found: dict[int, dict[int, int]] = {kind: {} for kind in KINDS}
    for key, count in keys:
        kind, place = divmod(key, SPAN)
        counts, bucket = found[kind], place - WIDEST - 1
        counts[bucket] = counts.get(bucket, 0) + count
    return found


def percentile(counts: Counts, share: Decimal, *, largest: Decimal | None = None) -> Decimal | None:
    """Return the value that at least this share of the values do not exceed; None without any.

    largest: the exact maximum of the absolute values, if it is known: none is beyond it.
    """
    total = sum(counts.values())
    below = 0
    for bucket in sorted(counts):
        below += counts[bucket]
        if below >= share * total:
            return _value(bucket, largest)
    return None


def _value(bucket: int, largest: Decimal | None) -> Decimal:
    if bucket == 0:
        return Decimal(0)
    size = round(FLOOR * GROWTH ** (abs(bucket) - 1), 6)
    if largest is not None:
        size = min(size, largest)
    return size if bucket > 0 else -size
