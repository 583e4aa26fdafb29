"""Every address and operation, asked of a started stack by each kind of user.

The web process has its own role in the database, and each request is a transaction of its own: what
works only inside a test's transaction, or only as the owner of the tables, fails here.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pytest
from nacl.public import PrivateKey

from tests.db_cleanup import empty
from tests.stack import addresses, api_cells, console_cells, link_cells, open_cells, portal_cells
from tests.stack.asking import VISITOR, Cell, Round, caller_of, faults_at_once, faults_in_turn
from tests.stack.running_stack import RunningStack, running_stack

pytestmark = [pytest.mark.processes, pytest.mark.timeout(900)]
committed = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def stack(django_db_setup: None, django_db_blocker: Any) -> Iterator[RunningStack]:
    with django_db_blocker.unblock(), running_stack() as started:
        yield started


@pytest.fixture(autouse=True)
def public_key(settings: Any) -> None:
    """Set a key with which the rows of the worlds are sealed."""
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = bytes(PrivateKey.generate().public_key)


def faults(
    stack: RunningStack,
    build: Callable[[], Any],
    cells_of: Callable[[Any], Iterable[Cell]],
    names: Mapping[str, str],
    key_of: Callable[[Any, str], str] = lambda world, name: "",
) -> list[str]:
    """Ask everything of a stage; return a line for each answer that is not as expected."""

    def next_round() -> Round:
        empty("default")
        world = build()
        cells = list(cells_of(world))
        people = {VISITOR: "", **names}.items()
        callers = {who: caller_of(stack.port, name, key_of(world, name)) for who, name in people}
        return Round(cells, callers)

    first = next_round()
    return [*faults_at_once(stack, first), *faults_in_turn(stack, first, next_round)]


def expect_none(lines: list[str]) -> None:
    """Fail with all faults, the errors of the server first."""
    if lines:
        ordered = sorted(lines, key=lambda line: "; " not in line)
        pytest.fail("\n".join([f"{len(lines)} answers are wrong:", *ordered]), pytrace=False)


def test_every_address_is_known_to_a_test() -> None:
    assert addresses.unknown() == [], "Add them to the role matrix of their pages, or to OPEN."


@committed
def test_operations_answer_each_user_as_their_matrices_state(stack: RunningStack) -> None:
    def cells_of(world: Any) -> Iterator[Cell]:
        yield from open_cells.cells()
        yield from api_cells.cells(world)

    expect_none(faults(stack, api_cells.build, cells_of, api_cells.NAMES, api_cells.key_of))


@committed
def test_portal_answers_each_user_as_its_matrix_states(stack: RunningStack) -> None:
    def cells_of(world: Any) -> Iterator[Cell]:
        yield from portal_cells.cells(world)
        yield from link_cells.cells()

    expect_none(faults(stack, portal_cells.PortalWorld, cells_of, portal_cells.NAMES))


@committed
def test_console_answers_each_user_as_its_matrix_states(stack: RunningStack) -> None:
    expect_none(faults(stack, console_cells.build, console_cells.cells, console_cells.NAMES))
