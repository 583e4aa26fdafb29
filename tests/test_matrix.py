"""A walk judges each cell alone and names all wrong ones."""

import logging

import pytest
from django.core.cache import cache
from django.test import Client

from tests.matrix import LISTED, Rows, Walk, as_role
from users.models import User

pytestmark = pytest.mark.django_db


def test_failure_names_each_wrong_cell_with_expected_and_found() -> None:
    walk = Walk()
    for page, found in {"/": 200, "/orders/": 500, "/keys/": 404}.items():
        with walk.cell(page, "bob") as cell:
            cell.expect(200, found)
    with walk.cell("/feeds/", "alice") as cell:
        cell.expect_one({200, 302}, 403, "status")
        cell.expect({"a": 1, "b": 2}, {"a": 1, "b": 3}, "rows")
    assert walk.failure().splitlines() == [
        "3 of 4 cells are wrong:",
        "  /orders/, bob: expected 200, found 500",
        "  /keys/, bob: expected 200, found 404",
        "  /feeds/, alice: status: expected 200 or 302, found 403;"
        " rows: expected {'b': 2}, found {'b': 3}",
    ]


def test_end_of_a_walk_fails_with_its_wrong_cells_alone() -> None:
    walk = Walk()
    for number in range(LISTED + 2):
        with walk.cell(f"page {number}") as cell:
            cell.expect("closed", "open")
    with pytest.raises(pytest.fail.Exception) as failed:
        walk.__exit__(None, None, None)
    lines = str(failed.value).splitlines()
    assert (lines[0], lines[-1]) == ("42 of 42 cells are wrong:", "  and 2 more")
    assert failed.value.pytrace is False


def test_error_makes_its_own_cell_wrong_only() -> None:
    walk = Walk()
    for name in ("twice", "once"):
        with walk.cell(name):
            User.objects.create_user("zoe")
            if name == "twice":
                User.objects.create_user("zoe")
    assert walk.failure().startswith("1 of 2 cells are wrong:\n  twice: failed: IntegrityError")


def test_nothing_of_a_cell_is_left_for_the_next_one() -> None:
    client = Client()
    client.force_login(User.objects.create_user("zoe"))
    signed_in = client.cookies.output()
    with Walk(client) as walk:
        for name in walk.each(["first", "second"]):
            with walk.cell(name) as cell:
                cell.expect((1, None), (User.objects.count(), cache.get("count")))
                cell.expect(signed_in, client.cookies.output(), "cookies")
                User.objects.create_user("bob")
                cache.set("count", 1)
                client.logout()
    assert not logging.root.manager.disable


def test_matrix_without_cells_fails() -> None:
    assert Walk().failure() == "the matrix has no cells"


def test_changed_rows_are_named_by_their_table() -> None:
    zoe = User.objects.create_user("zoe")
    rows, old_rows = Rows(["users_user"]), Rows(["users_user"], may_be_added=True)
    assert rows.changed() == old_rows.changed() == []
    User.objects.create_user("bob")
    assert (rows.changed(), old_rows.changed()) == (["users_user"], [])
    with as_role("NONE"):
        User.objects.filter(pk=zoe.pk).update(full_name="Zoe")
    assert old_rows.changed() == ["users_user"]
