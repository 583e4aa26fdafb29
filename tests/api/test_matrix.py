"""Every endpoint is in the matrix (cases.py), and does what its owners and operators ask."""

from itertools import product
from typing import Any

from common.permissions import Scope
from tests.api.calls import KEYED, OF_CALLERS, call, data_of, expect_listed, outcome, required_scope
from tests.api.cases import CASES
from tests.api.conftest import AsWeb
from tests.api.factories import World
from tests.api.schemas import operation_ids
from tests.api.test_rates import PLENTY
from tests.matrix import WALK_TIME, Walk
from tests.operational import set_setting
from users.services import create_api_key


def test_every_endpoint_is_in_the_matrix() -> None:
    operations = {f"{method.upper()} {path}" for method, path in operation_ids()}
    assert operations == set(CASES)


@WALK_TIME
def test_owner_reaches_each_endpoint_with_its_scope_alone(
    world: World, as_web: AsWeb, settings: Any
) -> None:
    """Otherwise the tests above, and of scopes and rates, would pass for an API that refuses all.

    What other scopes may still call is nothing: their rates do not count.
    """
    clients = {}
    for scope, user in product(Scope, (world.alice, world.olga)):
        name = f"{user.username}, {scope} only"
        world.keys[name] = create_api_key(user, "narrow", scopes=[scope])[1]
        clients[name] = world.client(name)
    with Walk() as walk:
        for name in walk.each(KEYED):
            case, scope = CASES[name], required_scope(name)
            for other in Scope:
                set_setting(f"api_rates.{other}", 0 if other != scope else PLENTY)
            for username in ("alice", "olga") if case.kind == "operator" else ("alice",):
                with walk.cell(name, caller := f"{username}, {scope} only") as cell:
                    with as_web():
                        response = call(world, clients[caller], name, case)
                    if username == "alice" and case.kind == "operator":
                        cell.expect("403 RIGHT_MISSING", outcome(response))
                        numbers = data_of(response).get("numbers", {})
                        cell.expect(True, "right" in numbers, "is refused by a right")
                    elif case.kind == "list":
                        expect_listed(cell, world, response, case, listed=True)
                    else:
                        cell.expect(case.ok, response.status_code, "status")


@WALK_TIME
def test_operators_use_what_is_about_the_caller_and_see_nothing_private(
    world: World, as_web: AsWeb
) -> None:
    """What else they may do depends on their roles: test_roles.py."""
    client = world.client("olga")
    with Walk() as walk:
        for name in walk.each(OF_CALLERS):
            case = CASES[name]
            with walk.cell(name, "olga") as cell:
                with as_web():
                    response = call(world, client, name, case)
                if case.kind == "private":
                    cell.expect("404 NOT_FOUND", outcome(response))
                elif case.kind == "list":
                    expect_listed(cell, world, response, case, listed=False)
                else:
                    cell.expect(case.operators or case.ok, response.status_code, "status")
