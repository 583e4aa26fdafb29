"""Calls of the operations of the matrix (cases.py), and what their answers show."""

from typing import Any

from rest_framework.test import APIClient

from common.permissions import Scope
from tests.api.cases import CASES, Case
from tests.api.factories import World
from tests.api.role_matrix import MATRIX, OWN
from tests.matrix import Cell


def call(world: World, caller: str | APIClient, name: str, case: Case) -> Any:
    """Make a call as a user of the world, or with a client that makes many."""
    method, path = name.split(" ")
    for key, value in case.path(world).items():
        path = path.replace("{" + key + "}", str(value))
    client = world.client(caller) if isinstance(caller, str) else caller
    data = case.query(world) if method == "GET" else case.body(world)
    return getattr(client, method.lower())(path, data, format=None if method == "GET" else "json")


def data_of(response: Any) -> Any:
    """Return the body of an answer in JSON, else an empty object."""
    return (response.json() or {}) if getattr(response, "content", b"") else {}


def outcome(response: Any) -> str:
    """Return the status of an answer, and the code of a refusal."""
    status = response.status_code
    return f"{status} {data_of(response)['code']}" if status >= 400 else str(status)


TABLES = (  # those whose rows another tenant could have changed
    "signals_feed", "signals_feedtoken", "alerts_telegrambot", "alerts_telegramchat",
    "signals_signal", "connections_executionconnection",
    "connections_subscription", "connections_subscriptionroute", "connections_killswitch",
    "connections_subscriptiontwin",
    "connections_connectionhealth",
    "execution_order", "positions_executionposition", "events_channel", "events_notification",
    "connections_losslimit", "connections_tradingpause", "connections_cashflow",
    "connections_decisionprovider", "connections_newscalendar", "connections_newsevent",
)  # fmt: skip
KEYED = [name for name, case in CASES.items() if case.kind != "token"]
OF_CALLERS = [name for name in KEYED if MATRIX.get(name) == OWN]


def expect_listed(cell: Cell, world: World, response: Any, case: Case, *, listed: bool) -> None:
    """Expect a page of a list, with or without Alice's object."""
    cell.expect("200", outcome(response))
    is_listed = response.status_code == 200 and str(case.shows(world)) in ids(data_of(response))
    cell.expect(listed, is_listed, "lists Alice's object")


def required_scope(name: str) -> Scope:
    """Return the scope that the contract requires for an operation."""
    method, path = name.split(" ")
    resource = path.removeprefix("/api/v1/").split("/")[0]
    if method == "GET":
        return Scope.READ
    if "/sample-order/" in path:
        return Scope.TRADE
    if path.startswith("/api/v1/data-connections/") and path.endswith("/quotes/"):
        return Scope.PRICES
    if resource in ("signals", "feeds"):
        return Scope.PUBLISH
    return Scope.TRADE if resource in ("orders", "positions", "drift") else Scope.OPERATE


def ids(data: Any) -> set[str]:
    return {str(result.get("id", result.get("slug"))) for result in data["results"]}
