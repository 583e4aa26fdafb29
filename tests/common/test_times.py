"""Times that statements of ours return: aware, UTC, to the microsecond."""

from datetime import UTC, datetime
from typing import NamedTuple

import pytest

from common.db.sql import Query, rows


class Moment(NamedTuple):
    at: datetime | None


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-27 20:22:00+00", datetime(2026, 11, 27, 20, 22, tzinfo=UTC)),
        ("2026-11-27 20:22:00.1+05:45", datetime(2026, 11, 27, 14, 37, 0, 100_000, tzinfo=UTC)),
        ("0001-01-01 00:00:00.000001+00", datetime(1, 1, 1, 0, 0, 0, 1, tzinfo=UTC)),
        ("9999-12-31 23:59:59.999999+00", datetime.max.replace(tzinfo=UTC)),
        (None, None),
    ],
)
def test_time_is_read_as_it_was_written(text: str | None, expected: datetime | None) -> None:
    (row,) = rows(Query(Moment, "SELECT %s::timestamptz AS at"), [text])
    assert row.at == expected
    assert row.at is None or row.at.tzinfo is UTC
