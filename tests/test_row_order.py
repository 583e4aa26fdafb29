"""Rows without an order come in reverse in each test."""

import pytest

from common.db.sql import exchange, rows
from tests.connections import make
from tests.row_order import is_ordered
from users.models import User

pytestmark = pytest.mark.django_db
IDS = "SELECT id FROM users_user WHERE username LIKE 'row-%%'"


@pytest.fixture
def written() -> list[int]:
    return [make.user(f"row-{number}").pk for number in range(3)]


def test_rows_without_an_order_come_in_reverse(written: list[int]) -> None:
    found = User.objects.filter(username__startswith="row-")
    assert [row.pk for row in found] == written[::-1]
    assert list(found.values_list("pk", flat=True)) == written[::-1]
    assert [row.id for row in rows(IDS)] == written[::-1]
    assert [[row.id for row in one] for one in exchange([(IDS, None)])] == [written[::-1]]


def test_rows_with_an_order_keep_it(written: list[int]) -> None:
    found = User.objects.filter(username__startswith="row-").order_by("pk")
    assert [row.pk for row in found] == written
    assert [row.id for row in rows(f"{IDS} ORDER BY id")] == written


@pytest.mark.parametrize(
    ("statement", "is_so"),
    [
        ("SELECT 1 FROM a ORDER BY b", True),
        ("SELECT 1 FROM a order  by b LIMIT 1", True),
        ("SELECT 1 FROM (SELECT 1 FROM a ORDER BY (b)) c", False),
        ("SELECT array_agg(a ORDER BY f(b)), row_number() OVER (ORDER BY c) FROM d", False),
        ("WITH a AS (SELECT 1 ORDER BY 1) SELECT 1 FROM a", False),
    ],
)
def test_only_the_order_of_the_whole_counts(statement: str, is_so: bool) -> None:
    assert is_ordered(statement) is is_so
