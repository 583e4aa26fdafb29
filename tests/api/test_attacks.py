"""Attacks on the API by users with a valid key or session: all are refused."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import pytest
from django.db import transaction
from rest_framework.test import APIClient

from common.db.sql import rows, run
from tests.api.calls import TABLES, call, data_of, outcome
from tests.api.cases import CASES, Case, Values
from tests.api.conftest import AsWeb
from tests.api.factories import World
from tests.matrix import WALK_TIME, Cell, Rows, Walk
from users.models import User
from users.services import create_api_key

# Columns that decide about rights, owners and money, and that no body may carry.
FORBIDDEN: dict[str, Any] = {
    "owner": 1, "owner_id": 1, "user_id": 1, "admin": 1, "admin_id": 1, "created_by": 1,
    "is_approved": True, "approved_by_owner": False, "approval": "APPROVED", "approved_by": 1,
    "published_at": "2026-01-01T00:00:00Z", "is_superuser": True, "is_staff": True,
    "groups": [1], "user_permissions": [1], "claim": "mt5:1", "identity": "1", "lane": 1,
    "needs_test": False, "status": "ACTIVE", "reconciled_at": "2026-01-01T00:00:00Z",
    "candidate_count": 0, "filled_quantity": "0", "sealed_credentials": "x", "secret_hash": "x",
    "prefix": "x", "last_used_at": None, "revoked_at": None, "set_by": 1, "epoch": None, "id": 1,
}  # fmt: skip
Counts = dict[tuple[str, str], int]  # of rows, by table and column


@dataclass(frozen=True)
class Sent:
    """What a call was answered with, and how many rows have the values of the forbidden fields."""

    status: int
    data: Any
    stored: Counts

    @property
    def code(self) -> str:
        """The code of a refusal."""
        return str(self.data.get("code", ""))


Send = Callable[[Case, dict[str, Any]], Sent]
WRITING = [name for name in CASES if name.split(" ")[0] in ("POST", "PATCH", "PUT")]
WITH_BODY = [name for name in WRITING if "/hooks/" not in name]


# Columns that no response shows: only the database shows whether a body's value was stored.
HIDDEN = ("sealed_credentials", "secret_hash", "claim", "needs_test", "reconciled_at")


@WALK_TIME
def test_forbidden_columns_in_a_body_are_not_stored(world: World, as_web: AsWeb) -> None:
    """Each extra field is refused, or changes neither the response nor the database's columns of
    that name."""
    client = world.client("alice")
    with Walk() as walk:
        for name in walk.each(WITH_BODY):
            with walk.cell(name, "alice") as cell:
                send = partial(_send, world, as_web, client, name)
                expect_nothing_stored(cell, world, CASES[name], send)


def expect_nothing_stored(cell: Cell, world: World, case: Case, send: Send) -> None:
    """Send all fields together, without those that a refusal names as long as it names some.

    If it then refuses otherwise than without any of them, one may hide the others: each is sent
    alone.
    """
    plain = send(case, FORBIDDEN)
    rest = {field: value for field, value in FORBIDDEN.items() if field not in case.body(world)}
    while rest:
        sent = send(replace(case, body=_with(case, rest)), rest)
        expect_as_without(cell, plain, sent, rest)
        if not (named := _named(sent) & rest.keys()):
            break
        rest = {field: value for field, value in rest.items() if field not in named}
    if rest and sent.status >= 400 and (sent.status, sent.code) != (plain.status, plain.code):
        for field, value in rest.items():
            alone = {field: value}
            expect_as_without(
                cell, plain, send(replace(case, body=_with(case, alone)), alone), alone
            )


def expect_as_without(cell: Cell, plain: Sent, sent: Sent, fields: dict[str, Any]) -> None:
    """Expect that fields that were taken changed neither the answer nor what is stored."""
    if sent.status >= 400:
        return
    if plain.status >= 400:
        cell.note(f"expected {plain.status}, found {sent.status} with {', '.join(fields)}")
    for field, value in fields.items():
        if isinstance(sent.data, dict) and sent.data.get(field) == value:
            cell.expect(plain.data.get(field), value, field)
    for place, count in sent.stored.items():
        of = f"rows of {'.'.join(place)} with the value sent"
        cell.expect(plain.stored.get(place, 0), count, of)


def _named(sent: Sent) -> set[str]:
    """Return the fields that a refusal names."""
    errors = sent.data.get("errors", ()) if sent.status == 400 else ()
    return {error["field"].split(".")[0] for error in errors}


def test_forbidden_values_in_the_database_are_counted(world: World) -> None:
    """Otherwise the test above could not fail for hidden columns."""
    places = {field: [of for of in _columns() if of[1] == field] for field in HIDDEN}
    assert all(places.values()), places
    for field in HIDDEN:
        table, _, kind = places[field][0]
        other, forged = {"bytea": ("'y'::bytea", "'x'::bytea"), "boolean": ("true", "false")}.get(
            kind, ("NULL", f"'{FORBIDDEN[field]}'")
        )
        counts = []
        with transaction.atomic():
            run("SET LOCAL session_replication_role = replica")
            for value in (other, forged):
                run(f"UPDATE {table} SET {field} = {value} WHERE %s", (value != "NULL",))
                counts.append(_rows_with({field: FORBIDDEN[field]})[table, field])
            transaction.set_rollback(True)
        assert counts[0] == 0 < counts[1], (table, field, counts)


@cache
def _columns() -> list[tuple[str, str, str]]:
    """Return table, name and type of each column with a forbidden name, except ids."""
    columns = rows(
        "SELECT c.table_name::text, c.column_name::text, c.data_type::text"
        " FROM information_schema.columns c JOIN information_schema.tables t"
        " USING (table_schema, table_name) WHERE c.table_schema = 'public'"
        " AND t.table_type = 'BASE TABLE' AND c.column_name = ANY(%s) ORDER BY 1, 2",
        ([field for field in FORBIDDEN if field != "id"],),
    )
    return [(row.table_name, row.column_name, row.data_type) for row in columns]


def _rows_with(fields: dict[str, Any]) -> Counts:
    """Return how many rows have these values, by table and column."""
    counts = {}
    for table, column, kind in _columns():
        if column not in fields:
            continue
        same, value = _is_same(column, kind), fields[column]
        given = None if value is None else str(value)
        (result,) = rows(f"SELECT count(*) AS n FROM {table} WHERE {same}", (given,))
        counts[table, column] = int(result.n)
    return counts


def _is_same(column: str, kind: str) -> str:
    """Return the SQL that compares a column with a body's value: by type where one value can be
    written in several ways."""
    if kind in ("timestamp with time zone", "numeric", "boolean"):
        return f"{column} IS NOT DISTINCT FROM %s::{kind}"
    if kind == "bytea":
        return f"{column} IS NOT DISTINCT FROM convert_to(%s, 'UTF8')"
    return f"{column}::text IS NOT DISTINCT FROM %s"


def _with(case: Case, more: dict[str, Any]) -> Values:
    return lambda world: case.body(world) | more


def _send(
    world: World, as_web: AsWeb, client: APIClient, name: str, case: Case, fields: dict[str, Any]
) -> Sent:
    """Call and roll back."""
    with transaction.atomic():
        with as_web():
            response = call(world, client, name, case)
        stored = _rows_with(fields) if response.status_code < 400 else {}
        transaction.set_rollback(True)
    return Sent(response.status_code, data_of(response), stored)


def foreign_bodies(world: World) -> dict[str, list[dict[str, Any]]]:
    """Return requests of Bob that name Alice's rows wherever a body takes a reference."""
    alices, signal = str(world.connection.pk), {"symbol": "EURUSD", "direction": "BUY"}
    new = {"name": "n", "type": "paper", "account": "77"}
    return {
        "/api/v1/connections/": [
            {**new, "preset": world.preset.pk}, {**new, "data_connection": world.prices.pk},
            {**new, "user": world.alice.pk},
        ],
        "/api/v1/subscriptions/": [
            {"connection": alices, "feed": world.public.slug},
            {"connection": alices, "feed": world.feed.slug},
        ],
        "/api/v1/kill-switch/": [
            {"scope": "CONNECTION", "mode": "HALTED", "connection": alices, "reason": "r"},
            {"scope": "USER", "mode": "HALTED", "user": world.alice.pk, "reason": "r"},
            {"scope": "FEED", "mode": "HALTED", "feed": world.feed.slug, "reason": "r"},
            {"scope": "ALL", "mode": "HALTED", "reason": "r"},
        ],
        "/api/v1/signals/": [
            {**signal, "feed": world.feed.slug}, {**signal, "feed": world.public.slug},
            {"action": "CLOSE", "refers_to": world.published.pk, "feed": world.feed.slug},
        ],
        "/api/v1/orders/cancel-all/": [
            {"connection": alices}, {"feed": world.feed.slug}, {"signal": world.published.pk},
        ],
        "/api/v1/positions/close-all/": [{"connection": alices}, {"feed": world.feed.slug}],
        "/api/v1/drift/compare/": [{"connections": [alices]}, {"connection": alices}],
        f"/api/v1/drift/{world.drift.pk}/relink/": [{"position": world.position.pk}],
    }  # fmt: skip


@WALK_TIME
def test_bodies_reach_no_rows_of_another_tenant(world: World, as_web: AsWeb) -> None:
    before, client = Rows(TABLES), world.client("bob")
    with Walk() as walk:
        bodies = [(path, body) for path, all_ in foreign_bodies(world).items() for body in all_]
        for path, body in walk.each(bodies):
            with walk.cell(f"POST {path} {body}", "bob") as cell:
                with as_web():
                    response = client.post(path, body, format="json")
                reached = response.status_code < 400 and data_of(response).get("count", 1)
                if reached:
                    cell.expect("a refusal", outcome(response))
                cell.expect_unchanged(before)


HEADERS = [
    {"HTTP_X_HTTP_METHOD_OVERRIDE": "DELETE"}, {"HTTP_X_METHOD_OVERRIDE": "PUT"},
    {"HTTP_X_ORIGINAL_URL": "/api/v1/orders/cancel-all/"}, {"HTTP_X_REWRITE_URL": "/admin/"},
    {"HTTP_X_FORWARDED_USER": "olga"}, {"HTTP_REMOTE_USER": "olga"}, {"REMOTE_USER": "olga"},
    {"HTTP_X_USER_ID": "1"}, {"HTTP_FILLCAST_TENANT": "1"},
]  # fmt: skip


@pytest.mark.parametrize("headers", HEADERS, ids=lambda headers: next(iter(headers)))
def test_headers_change_neither_method_nor_user(world: World, headers: dict[str, Any]) -> None:
    before = Rows(TABLES)
    path = f"/api/v1/connections/{world.connection.pk}/"
    assert world.client("bob").get(path, **headers).status_code == 404
    assert world.client("alice").get(path, **headers).status_code == 200
    assert APIClient().get("/api/v1/me/", **headers).status_code == 401
    assert world.client("bob").get("/api/v1/me/", **headers).json()["username"] == "bob"
    assert before.changed() == []


def test_key_beside_a_session_acts_as_the_key_alone(world: World, as_web: AsWeb) -> None:
    """An operator's browser that is made to send a narrow key gets the key's rights only."""
    _, narrow = create_api_key(world.bob, "narrow", scopes=["read"])
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(world.olga)
    both: dict[str, Any] = {"HTTP_AUTHORIZATION": f"Bearer {narrow}"}
    approve = f"/api/v1/signals/{world.signal.pk}/approve/"
    with as_web():
        assert client.get("/api/v1/me/", **both).json()["username"] == "bob"
        mine = client.get("/api/v1/connections/", **both).json()
        refused = client.post(approve, **both)
        wrong = client.get("/api/v1/me/", HTTP_AUTHORIZATION="Bearer fc_000000000000_x")
        no_token = client.post(approve)
    assert mine["results"] == []
    assert (refused.status_code, refused.json()["code"]) == (403, "RIGHT_MISSING")
    assert wrong.status_code == 401
    assert no_token.status_code == 403  # the session alone: without its CSRF token


def test_session_loses_rights_when_its_user_does(world: World, as_web: AsWeb) -> None:
    client = APIClient()
    client.force_login(world.olga)
    path = f"/api/v1/connections/{world.connection.pk}/"
    assert client.get(path).status_code == 200
    User.objects.get(pk=world.olga.pk).groups.clear()
    with as_web():
        assert client.get(path).status_code == 404
        assert client.post(f"{path}pause/").status_code in (403, 404)
    User.objects.filter(pk=world.olga.pk).update(is_active=False)
    assert client.get("/api/v1/me/").status_code == 401
