"""Every endpoint × every other user: no other tenant reaches Alice's objects."""

from contextlib import nullcontext
from itertools import product
from typing import Any

import pytest

from tests.api.calls import KEYED, TABLES, call, data_of, expect_listed, outcome
from tests.api.cases import CASES, Case
from tests.api.conftest import AsWeb
from tests.api.factories import World
from tests.matrix import WALK_TIME, Cell, Rows, Walk

OTHERS = ("bob", "paula")


@WALK_TIME
@pytest.mark.parametrize(
    ("caller", "role"),  # with querysets only; with row-level security what they call still works
    [("anonymous", "web"), ("paula", "web"), *product(OTHERS, ("owner",))],
)
def test_other_tenants_do_not_reach_alices_objects(
    world: World, as_web: AsWeb, caller: str, role: str
) -> None:
    before, client = Rows(TABLES), world.client(caller)
    with Walk() as walk:
        for name in walk.each(KEYED):
            with walk.cell(name, f"{caller} ({role})") as cell:
                with as_web() if role == "web" else nullcontext():
                    response = call(world, client, name, CASES[name])
                expect_refused_to_others(cell, world, response, caller, CASES[name])
                if CASES[name].kind != "any":
                    cell.expect_unchanged(before)


def expect_refused_to_others(
    cell: Cell, world: World, response: Any, caller: str, case: Case
) -> None:
    found, data = outcome(response), data_of(response)
    if caller == "anonymous":
        cell.expect("401 AUTHENTICATION_REQUIRED", found)
        cell.expect("Bearer", response.get("WWW-Authenticate"), "WWW-Authenticate")
    elif case.kind in ("own", "operator", "private"):
        cell.expect("404 NOT_FOUND", found)
    elif case.kind == "foreign":
        cell.expect(" ".join(map(str, case.others)), found)
    elif case.kind == "list":
        expect_listed(cell, world, response, case, listed=False)
    else:
        cell.expect(case.ok, response.status_code)
        for count_field in ("count", "marked"):
            cell.expect(0, data.get(count_field, 0), count_field)
