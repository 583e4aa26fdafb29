"""Every operation of the API as each caller, with the statuses of its matrices."""

import json
from collections.abc import Iterator
from functools import cache
from urllib.parse import urlencode

from django.db import transaction

from alerts.inbox.posts import PostedAlert, receive_alert
from api import reference
from common.operational.document import RATES
from common.permissions import Role
from signals.feeds.services import create_feed_token
from tests.api import factories
from tests.api.cases import CASES, Case
from tests.api.example_calls import live
from tests.api.role_matrix import MATRIX, OWN
from tests.api.schemas import schema
from tests.roles import staff
from tests.stack.asking import (
    ADMINISTRATOR,
    CALLERS,
    JSON,
    NO_ROLE,
    OPERATOR,
    OTHER,
    OWN_KEY,
    OWNER,
    PASSWORD,
    VISITOR,
    Cell,
)
from users.models import User
from users.services import create_api_key

LETTERS = {ADMINISTRATOR: "A", OPERATOR: "O", NO_ROLE: "N"}
ANY: frozenset[str] = frozenset()
ALERT = {"action": "OPEN", "symbol": "EURUSD", "direction": "BUY"}
SENT = json.dumps(ALERT).encode()
NAMES = {OWNER: "alice", OTHER: "bob", ADMINISTRATOR: "anna", OPERATOR: "oscar", NO_ROLE: "nils"}


def build() -> factories.World:
    """Write Alice's rows; add staff, and a password for each caller.

    In one transaction: the web process takes a version of the settings once, as it finds it.
    """
    with transaction.atomic():
        return _build()


def _build() -> factories.World:
    world = factories.build()
    for role, name in (((Role.ADMINISTRATOR,), "anna"), ((Role.OPERATOR,), "oscar"), ((), "nils")):
        world.keys[name] = create_api_key(staff(*role, name=name), "test")[1]
    hashed = User()
    hashed.set_password(PASSWORD)
    User.objects.filter(username__in=NAMES.values()).update(password=hashed.password)
    # The world's version is in force, in place of what the stack was started with.
    world.version.document = {"api_rates": dict.fromkeys(RATES, 1_000_000)}
    world.version.save()
    return world


def key_of(world: factories.World, user_name: str) -> str:
    """Return a user's API key; a visitor has none."""
    return world.keys.get(user_name, "")


def expected(name: str, case: Case, caller: str) -> int:
    """Return the status that the matrices state."""
    if caller == VISITOR:
        return 401
    if caller == OTHER:
        return _of_others(case)
    if caller == OWNER:
        return 403 if case.kind == "operator" else 200 if case.kind == "list" else case.ok
    if MATRIX[name] == OWN:
        return {"private": 404, "list": 200}.get(case.kind, case.ok)
    if LETTERS[caller] in MATRIX[name]:
        return 200 if case.kind == "list" else case.operators or case.ok
    if not name.startswith("GET"):
        return 403
    return 200 if case.kind == "list" else case.others[0] if case.kind == "operator" else 404


def _of_others(case: Case) -> int:
    if case.kind in ("own", "private"):
        return 404
    if case.kind in ("foreign", "operator"):
        return case.others[0]
    return 200 if case.kind == "list" else case.ok


@cache
def ids() -> dict[str, str]:
    """Return the id of each operation of the schema."""
    return {
        f"{method.upper()} {path}": operation["operationId"]
        for path, methods in schema()["paths"].items()
        for method, operation in methods.items()
    }


def cells(world: factories.World) -> Iterator[Cell]:
    """Yield the requests of each operation."""
    for name in ids():
        assert name in CASES, f"{name} has no case in tests/api/cases.py"
        if CASES[name].kind == "token":
            yield from _by_token(world, name)
        else:
            yield from _of(world, name, CASES[name])


def _of(world: factories.World, name: str, case: Case) -> Iterator[Cell]:
    """The valid call is made with an API key; the empty one in a session."""
    method, path = name.split(" ")
    for key, value in case.path(world).items():
        path = path.replace("{" + key + "}", str(value))
    if method == "GET" and (query := case.query(world)):
        path += f"?{urlencode(query)}"
    for caller in CALLERS:
        status = frozenset([str(expected(name, case, caller))])
        if method == "GET":
            yield Cell(name, caller, "GET", path, status, authorization=OWN_KEY)
            if caller in (VISITOR, OWNER):
                yield Cell(name, caller, "HEAD", path, status)
            continue
        yield Cell(name, caller, method, path, status, case.body(world), JSON, OWN_KEY)
        yield Cell(name, caller, method, path, status if caller == VISITOR else ANY, None, JSON)
    if method != "GET" and case.ok >= 400:
        body = live(reference.requests().get(ids()[name], {}), world)
        yield Cell(f"{name} (its example)", OWNER, method, path, ANY, body, JSON, OWN_KEY)


def _by_token(world: factories.World, name: str) -> Iterator[Cell]:
    """The token in the address decides, not the caller."""
    method, path = name.split(" ")
    right = create_feed_token(world.feed)[1]
    with transaction.atomic():
        posted = receive_alert(PostedAlert(world.feed.slug, right, SENT)).alert
    assert posted is not None
    for token, status in ((right, "202" if method == "POST" else "200"), ("wrong", "404")):
        at = path.format(feed=world.feed.slug, token=token, alert=posted.pk)
        for caller in CALLERS:
            if method == "GET":
                yield Cell(f"{name} {status}", caller, "GET", at, frozenset([status]))
                continue
            yield Cell(f"{name} {status}", caller, method, at, frozenset([status]), ALERT, JSON)
            yield Cell(f"{name} {status}", caller, method, at, ANY, None, JSON)
