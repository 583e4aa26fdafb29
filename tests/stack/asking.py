"""Callers who ask addresses over HTTP, and a line for each answer that is not as expected."""

import http.client
import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest

from tests.db_cleanup import empty
from tests.stack.running_stack import RunningStack
from tests.web_process import Browser

VISITOR, OWNER, OTHER = "visitor", "owner", "another tenant"
NO_ROLE, OPERATOR, ADMINISTRATOR = "staff without a role", "operator", "administrator"
CALLERS = (VISITOR, OTHER, NO_ROLE, OPERATOR, ADMINISTRATOR, OWNER)
PASSWORD = "correct horse battery"
SIGN_IN, CONSOLE, DROPPED = "sent to sign-in", "sent to the console", "dropped connection"
REFUSED = {"401", "403", "404", SIGN_IN, CONSOLE}
SAFE = ("GET", "HEAD")
FORM, JSON = "application/x-www-form-urlencoded", "application/json"
AT_ONCE = 4
OWN_KEY = "key"  # stands for the caller's own


@dataclass(frozen=True)
class Cell:
    """A request of one caller, and the outcomes that are right: statuses, or where it leads.

    address: its name in a report. expected: if none, all but errors of the server.
    authorization: the header; without one, the caller's session is used, as by a browser.
    """

    address: str
    caller: str
    method: str
    path: str
    expected: frozenset[str] = frozenset()
    body: Any = None
    content_type: str = ""
    authorization: str = ""

    @property
    def key(self) -> tuple[Any, ...]:
        """What this request has in common with the same one in another world."""
        return (self.address, self.caller, self.method, self.body is None, self.authorization)

    @property
    def changes_nothing(self) -> bool:
        """Whether others may be made at the same time."""
        return self.method in SAFE or bool(self.expected and self.expected <= REFUSED)

    def fits(self, outcome: str) -> bool:
        return not is_failure(outcome) and (not self.expected or outcome in self.expected)


@dataclass(frozen=True)
class Caller:
    """What a caller sends with each request."""

    cookies: dict[str, str] = field(default_factory=dict)
    key: str = ""


@dataclass(frozen=True)
class Round:
    """A fresh world: what is asked in it, and who asks."""

    cells: list[Cell]
    callers: dict[str, Caller]


def caller_of(port: int, user_name: str, key: str = "") -> Caller:
    """Sign a user in as a browser does; without a name, only get the token for forms."""
    browser = Browser(port)
    answer = browser.get("/login/")
    if user_name:
        answer = browser.sign_in(user_name, PASSWORD)
        assert answer.status == 302, f"{user_name} cannot sign in: {answer.status}"
    return Caller(browser.cookies, key)


def ask(port: int, cell: Cell, caller: Caller) -> tuple[str, str]:
    """Return the outcome of a request, and its id in the web process's log.

    503 invites to try again, and nothing was done: a machine that stands still for seconds ends a
    transaction. What is broken answers so each time.
    """
    outcome, request_id = _ask_once(port, cell, caller)
    return (outcome, request_id) if outcome != "503" else _ask_once(port, cell, caller)


def _ask_once(port: int, cell: Cell, caller: Caller) -> tuple[str, str]:
    headers, request_id = _headers(cell, caller), uuid4().hex
    body = None
    if cell.method not in SAFE:
        values = cell.body or {}
        body = json.dumps(values) if cell.content_type == JSON else urlencode(values)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=110)
    try:
        connection.request(cell.method, cell.path, body, {**headers, "X-Request-ID": request_id})
        with connection.getresponse() as answer:
            if answer.headers.get_content_type() != "text/event-stream":  # it has no end
                answer.read()
    except (http.client.HTTPException, OSError) as error:  # also when none comes in time
        return f"{DROPPED} ({type(error).__name__})", request_id
    finally:
        connection.close()
    return _outcome(answer.status, answer.headers.get("Location", "")), request_id


def _headers(cell: Cell, caller: Caller) -> dict[str, str]:
    headers = {"Content-Type": cell.content_type} if cell.content_type else {}
    if cell.authorization == OWN_KEY:
        return headers | ({"Authorization": f"Bearer {caller.key}"} if caller.key else {})
    if cell.authorization:
        return headers | {"Authorization": cell.authorization}
    headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in caller.cookies.items())
    return headers | {"X-CSRFToken": caller.cookies.get("csrftoken", "")}


def _outcome(status: int, location: str) -> str:
    if status != 302:
        return str(status)
    to = {"/login/": SIGN_IN, "/admin/login/": SIGN_IN, "/admin/": CONSOLE}
    return to.get(location.partition("?")[0], "302")


def is_failure(outcome: str) -> bool:
    """Return whether the server failed, whatever the request was."""
    return outcome.startswith((DROPPED, "5"))


def fault(stack: RunningStack, cell: Cell, outcome: str, request_id: str) -> str:
    """Return the line of a report."""
    wanted = " or ".join(sorted(cell.expected)) or "no error of the server"
    is_empty = cell.method not in SAFE and not cell.body
    line = f"{cell.address}: {cell.method} {cell.path} as {cell.caller}"
    line += f"{' with an empty body' * is_empty}: expected {wanted}, found {outcome}"
    return line + (f"; {stack.error_of(request_id)}" if is_failure(outcome) else "")


def faults_at_once(stack: RunningStack, first: Round) -> list[str]:
    """Ask what changes nothing, some at a time; return the faults."""

    def one(cell: Cell) -> str:
        outcome, request_id = ask(stack.port, cell, first.callers[cell.caller])
        return "" if cell.fits(outcome) else fault(stack, cell, outcome, request_id)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        cells = [cell for cell in first.cells if cell.changes_nothing]
        return [line for line in pool.map(one, cells) if line]


def faults_in_turn(stack: RunningStack, first: Round, next_round: Callable[[], Round]) -> list[str]:
    """Ask what may change rows, one after the other; return the faults.

    A request that an earlier one left nothing to do is made again in a fresh world, until no more
    of them are answered as expected.
    """
    faults: list[tuple[Cell, str]] = []
    now = first
    pending = [cell for cell in now.cells if not cell.changes_nothing]
    while pending:
        unexpected: list[tuple[Cell, str]] = []
        for cell in pending:
            outcome, request_id = ask(stack.port, cell, now.callers[cell.caller])
            if not cell.fits(outcome):
                line = fault(stack, cell, outcome, request_id)
                (faults if is_failure(outcome) else unexpected).append((cell, line))
        if len(unexpected) == len(pending):
            faults += unexpected
            break
        keys = {cell.key for cell, _ in unexpected}
        if keys:
            now = next_round()
        pending = [cell for cell in now.cells if cell.key in keys]
    return [line for _, line in faults]


def wrong_answers(
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
