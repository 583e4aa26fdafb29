"""Those who try every address of the product, and what they may not get there."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from http.cookies import SimpleCookie
from typing import Any, ClassVar

import pytest
from django.core.cache import cache as redis_cache
from django.core.handlers import wsgi
from django.db import connection, transaction
from django.http import QueryDict
from django.test import Client

from api import reference
from signals.feeds.rate import forget_failures
from tests.api.schemas import operation_ids
from tests.users.endpoints import (
    FIRST_ID,
    MARK,
    Endpoint,
    Victim,
    ids_of_all_rows,
    mark,
    start_ids_at,
    state_of,
)
from tests.users.world import tenant
from users.models import User

SIGN_IN = ("/login/", "/admin/login/", "/security/confirm/", "/security/enrol/")
REFUSED = {400, 401, 403, 404, 405, 406, 409, 410, 415, 422}
UNCHANGED = ("/sessions/",)  # ends what is there; without such a session it changes nothing
PARTS = 4
"""How many tests share the addresses, so that none takes long and a test process is free sooner."""
WORDS = {"table": ("orders", "trades", "signals"), "year": ("2026",), "month": ("3",)}
NOT_ROWS = {"cursor", "fields", "format", "ordering", "page", "page_size"}  # how, not which
REFERENCES = {"signal", "order", "position", "preset", "subscription", "user", "ids"}


class Query(QueryDict):
    """A request's query that notes for which names a view looks in it."""

    asked: ClassVar[set[str]] = set()

    def __getitem__(self, key: str) -> Any:
        self.asked.add(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self.asked.add(str(key))
        return super().__contains__(key)

    def getlist(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return super().getlist(key, default)


@dataclass(frozen=True)
class Answer:
    """What a call was answered with.

    changed: rows of the victim are others than before; asked: what the view looks for in the query.
    """

    status: int
    to: str
    text: str
    changed: bool
    asked: frozenset[str] = frozenset()


class Caller:
    """Someone who tries addresses, with a browser's session or with none."""

    def __init__(self, victim: Victim, user: User | None = None) -> None:
        self.client = Client(raise_request_exception=False)
        if user is not None:
            self.client.force_login(user)
        self._cookies = self.client.cookies.output(header="", sep=";")
        self._victim, self._state = victim, state_of(victim.rows)

    def ask(self, method: str, path: str, data: Any) -> Answer:
        """Make a call; nothing of it stays."""
        self.client.cookies = SimpleCookie(self._cookies)
        Query.asked.clear()
        with transaction.atomic(), pytest.MonkeyPatch.context() as patch:
            patch.setattr(wsgi, "QueryDict", Query)
            answer = self._send(method, path, data)
            parts = answer.streaming_content if answer.streaming else [answer.content]
            text = b"".join(parts).decode(errors="replace")
            wrote = method != "get" and answer.status_code < 400
            changed = wrote and state_of(self._victim.rows) != self._state
            transaction.set_rollback(True)
        to, asked = answer.headers.get("Location", ""), frozenset(Query.asked)
        return Answer(answer.status_code, to, text, changed, asked)

    def _send(self, method: str, path: str, data: Any) -> Any:
        send = getattr(self.client, method)
        if path.startswith("/api/") and method != "get":
            return send(path, json.dumps(data), content_type="application/json")
        return send(path, data)


def make_victim() -> Victim:
    """Create a tenant with a row in each table; ids of rows that follow are far from theirs."""
    with connection.cursor() as cursor:  # one transaction for a test, also on a machine that pauses
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
    before = ids_of_all_rows()
    start_ids_at(FIRST_ID)
    made = tenant(MARK)
    rows = mark(before)
    made.feed.refresh_from_db()
    start_ids_at(FIRST_ID + 1_000_000)
    return Victim(str(made.connection.pk), made.feed.slug, rows)


def calls(endpoint: Endpoint, victim: Victim) -> Iterator[tuple[str, Any]]:
    """Yield the calls to make at an address: methods with their bodies."""
    for method in endpoint.methods:
        if method == "get":
            yield method, {}
        elif endpoint.path.startswith("/api/"):
            yield method, body_of(method, endpoint, victim)
        else:
            yield method, {**references(victim), "fraction": "1", "name": "changed"}


def searches(asked: Iterable[str], victim: Victim) -> Iterator[dict[str, Any]]:
    """Yield a query for each name that a list looks for: the victim's object, or text of theirs.

    One name at a time: several would find only what fits them all.
    """
    known = {**references(victim), **dict.fromkeys(REFERENCES, FIRST_ID)}
    for name in sorted(set(asked) - NOT_ROWS):
        if name in known:
            yield {name: known[name]}
        else:
            yield {name: MARK[:-1]}
            yield {name: FIRST_ID}


def references(victim: Victim) -> dict[str, Any]:
    """Return the fields of bodies and queries that name an object, with the victim's."""
    return {
        "connection": victim.uuid, "account": victim.uuid, "feed": victim.slug,
        "signal": FIRST_ID, "order": FIRST_ID, "preset": FIRST_ID, "position": FIRST_ID,
    }  # fmt: skip


def body_of(method: str, endpoint: Endpoint, victim: Victim) -> Any:
    """Return the operation's example with the victim's objects in it."""
    example = reference.requests().get(_operation_ids().get((method, endpoint.template), ""), {})
    return named(example, victim)


@cache
def _operation_ids() -> dict[tuple[str, str], str]:
    """Return the id of each operation, by its method and the template of its endpoint."""
    return {
        (method, re.sub(r"{\w+}", "{}", path)): name
        for (method, path), name in operation_ids().items()
    }


def named(value: Any, victim: Victim, name: str = "") -> Any:
    """Return an example whose references are the victim's."""
    if isinstance(value, dict):
        return {key: named(inner, victim, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [named(inner, victim, name) for inner in value]
    ours = {"connection": victim.uuid, "feed": victim.slug, **dict.fromkeys(REFERENCES, FIRST_ID)}
    return ours.get(name, value)


def fault(endpoint: Endpoint, answer: Answer, victim: Victim, sent: Any) -> str:
    """Return what is wrong with an answer to someone who may not see the victim; "" if nothing."""
    known = {*endpoint.values, *(str(value) for value in strings(sent) if len(str(value)) > 3)}
    leak = victim.found_in(answer.text, known) or victim.found_in(answer.to, known)
    if answer.status >= 500:
        return "it failed"
    if leak:
        return f"it shows {leak!r}"
    if answer.changed:
        return "it changed the victim's rows"
    is_refused = answer.status in REFUSED or answer.to.startswith((*SIGN_IN, "/admin/?"))
    if endpoint.values and not is_refused and not endpoint.path.startswith(UNCHANGED):
        return "it answered about the victim's object"
    return ""


def strings(value: Any) -> Iterator[Any]:
    """Yield the single values of a body or query."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)
    else:
        yield value


def faults_at(
    found: list[Endpoint],
    caller: Caller,
    victim: Victim,
    judge: Callable[[Endpoint, Answer, Victim, Any], str] = fault,
) -> list[str]:
    """Make all calls at these addresses; return what was wrong, a line each.

    Who may read everything, for whom there is another judge, need not search.
    """
    lines = []
    for number, endpoint in enumerate(found):
        if number % 15 == 0:  # no caller is to be throttled
            redis_cache.clear()
            forget_failures()
        for method, data in calls(endpoint, victim):
            answer = caller.ask(method, endpoint.path, data)
            lines += _line(method, endpoint, answer, judge(endpoint, answer, victim, data))
            is_list = method == "get" and not endpoint.values and answer.status == 200
            if is_list and judge is fault:
                for query in searches(answer.asked, victim):
                    answer = caller.ask(method, endpoint.path, query)
                    lines += _line(method, endpoint, answer, judge(endpoint, answer, victim, query))
    return lines


def _line(method: str, endpoint: Endpoint, answer: Answer, why: str) -> list[str]:
    return [f"{method.upper()} {endpoint.path}: {answer.status} {answer.to} {why}"] if why else []
