"""Records of a NamedTuple as one `unnest`: each value arrives with its type, whatever it is."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import pytest

from common.db.sql import Query, record_arrays, records_sql, rows


class Figures(NamedTuple):
    """One field of each type, and one that may be None."""

    order_id: int
    detail: str
    quantity: Decimal
    is_final: bool
    seconds: float
    sent_at: datetime
    price: Decimal | None
    ended_at: datetime | None
    reason: str | None


READ = Query(Figures, f"SELECT * FROM {records_sql(Figures)} ORDER BY row_number() OVER ()")
TEXTS = [
    "",
    " ",
    "NULL",
    "null",
    "a,b",
    "{}",
    '"',
    "\\",
    '\\"',
    "'; --",
    "%(x)s %s",
    "ü€😀",
    "\n\t",
]
PLACES = Decimal("0.000000000000000001")
FIRST = datetime(1, 1, 1, tzinfo=UTC)
MOMENT = datetime(2026, 3, 29, 1, 59, 59, 999_999, tzinfo=UTC)


def figures(**fields: Any) -> Figures:
    values = {
        "order_id": 1, "detail": "", "quantity": Decimal(1), "is_final": True, "seconds": 0.5,
        "sent_at": MOMENT, "price": None, "ended_at": None, "reason": None,
    }  # fmt: skip
    return Figures(**{**values, **fields})


def read_back(records: list[Figures]) -> list[Figures]:
    return rows(READ, record_arrays(Figures, records))


@pytest.mark.django_db
@pytest.mark.parametrize(
    "values",
    [
        [{"price": None}, {"price": Decimal("1.10")}, {"price": None}],
        [{"reason": None}, {"reason": ""}, {"reason": "NULL"}],
        [{"price": None, "reason": None}, {"price": None, "reason": "some"}],
        [{"ended_at": MOMENT}, {"ended_at": None}],
        [{"order_id": -(2**63)}, {"order_id": 0}, {"order_id": 2**63 - 1}],
        [{"quantity": PLACES}, {"quantity": -PLACES}, {"quantity": Decimal(10) ** 20 - PLACES}],
        [{"quantity": Decimal("1E+3")}, {"quantity": Decimal("0E-18")}],
        [{"is_final": True}, {"is_final": False}],
        [{"seconds": 0.1 + 0.2}, {"seconds": 5e-324}, {"seconds": float("inf")}],
        [{"sent_at": MOMENT}, {"sent_at": MOMENT}, {"sent_at": MOMENT + timedelta(microseconds=1)}],
        [{"sent_at": moment} for moment in (FIRST, datetime.max.replace(tzinfo=UTC))],
        [{"detail": text, "reason": text} for text in TEXTS],
        [{"detail": text} for text in ("plain", "plain too")],
    ],
    ids=["none", "no text", "all none", "no time", "int", "digits", "exponent", "bool", "float",
         "same time", "far times", "texts", "plain texts"],
)  # fmt: skip
def test_records_arrive_as_they_are_and_in_their_order(values: list[dict[str, Any]]) -> None:
    records = [figures(**one) for one in values]
    assert read_back(records) == records


@pytest.mark.django_db
def test_decimal_keeps_its_places() -> None:
    (row,) = read_back([figures(quantity=Decimal("1.500"), price=Decimal("1.10000"))])
    assert (str(row.quantity), str(row.price)) == ("1.500", "1.10000")


@pytest.mark.django_db
def test_time_of_another_zone_is_the_same_moment() -> None:
    zone = timezone(timedelta(hours=5, minutes=45))
    (row,) = read_back([figures(sent_at=MOMENT.astimezone(zone))])
    assert (row.sent_at, row.sent_at.utcoffset()) == (MOMENT, timedelta(0))


@pytest.mark.django_db
def test_column_of_none_only_keeps_its_type() -> None:
    found = rows(
        f"SELECT pg_typeof(price)::text AS price, pg_typeof(ended_at)::text AS ended_at,"
        f" pg_typeof(reason)::text AS reason FROM {records_sql(Figures)}",
        record_arrays(Figures, [figures()]),
    )
    assert [tuple(row) for row in found] == [("numeric", "timestamp with time zone", "text")]


@pytest.mark.django_db
def test_no_records_are_no_rows() -> None:
    assert record_arrays(Figures, []) == dict.fromkeys(Figures._fields, "{}")
    assert read_back([]) == []


def test_each_field_is_an_array_by_its_name() -> None:
    class Pair(NamedTuple):
        order_id: int
        price: Decimal | None

    assert records_sql(Pair) == (
        "unnest(%(order_id)s::bigint[], %(price)s::numeric[]) AS t(order_id, price)"
    )
    assert record_arrays(Pair, [Pair(7, None), Pair(8, Decimal("1.1"))]) == {
        "order_id": "{7,8}", "price": "{NULL,1.1}",
    }  # fmt: skip


@pytest.mark.parametrize("kind", [bytes, UUID, list[int], dict[str, int], int | str, bytes | None])
def test_field_of_another_type_is_refused_when_the_statement_is_made(kind: Any) -> None:
    class Unsupported(NamedTuple):
        order_id: int
        payload: kind

    with pytest.raises(TypeError, match="no array of"):
        records_sql(Unsupported)


def test_record_with_too_few_values_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        record_arrays(Figures, [figures(), figures()[:-1]])
