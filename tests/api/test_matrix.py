"""Every endpoint × every user: no other tenant reaches Alice's objects.

The table names each operation of the OpenAPI schema; one that is missing fails the first test.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import pytest
from rest_framework.test import APIClient

from common.permissions import Scope
from tests.api.conftest import AsWeb
from tests.api.factories import World
from tests.api.role_matrix import MATRIX, OWN
from tests.api.schemas import operation_ids
from tests.matrix import WALK_TIME, Cell, Rows, Walk
from users.services import create_api_key

Values = Callable[[World], dict[str, Any]]
OTHERS = ("bob", "paula")


@dataclass(frozen=True)
class Case:
    """One operation. kind:

    own: an object of Alice; others get 404. operator: the same, and Alice gets 403.
    private: as own, and operators get 404, too. list: others do not see Alice's `shows`.
    any: each user may call it, about their own objects.
    foreign: others name Alice's object in the body and get `others`.
    """

    kind: str
    shows: Callable[[World], Any] = lambda world: None
    path: Values = lambda world: {}
    body: Values = lambda world: {}
    ok: int = 200
    others: tuple[int, str] = (404, "NOT_FOUND")
    query: Values = field(default=lambda world: {})
    operators: int = 0  # the status they get, if it is not `ok`


def of(name: str, **more: Any) -> dict[str, Any]:
    """Return the fields of a case about an object of Alice, by its name in the world."""
    return {"path": lambda world: {"id": getattr(world, name).pk}, **more}


def slug(**more: Any) -> dict[str, Any]:
    return {
        "path": lambda world: {
            "slug": world.feed.slug,
            "token_id": world.token.pk,
            "draft_id": world.draft.pk,
            "chat_id": world.chat.chat_id,
        },
        **more,
    }


def listed(name: str, **more: Any) -> Case:
    return Case("list", shows=lambda world: getattr(world, name).pk, **more)


INVALID = (400, "FIELD_INVALID")
NEW_CONNECTION: Values = lambda world: {  # noqa: E731
    "name": "n", "type": "paper", "account": "77", "preset": world.preset.pk
}  # fmt: skip
CASES: dict[str, Case] = {
    "GET /api/v1/analytics/": Case("any"),
    "GET /api/v1/analytics/breakdown/": Case("any"),
    "GET /api/v1/analytics/compared/": Case("any"),
    "GET /api/v1/analytics/months/": Case("any"),
    "GET /api/v1/analytics/equity/": Case("any"),
    "GET /api/v1/analytics/export/{table}/": Case(
        "any",
        path=lambda world: {"table": "trades"},
        query=lambda world: {"connection": world.connection.pk},
    ),
    "GET /api/v1/analytics/statistics/": Case("any"),
    "GET /api/v1/analytics/execution/": Case(
        "any", query=lambda world: {"connection": world.connection.pk}
    ),
    "GET /api/v1/trail/": Case("any"),
    "GET /api/v1/exports/{table}/": Case("any", path=lambda world: {"table": "open-positions"}),
    "GET /api/v1/history/{table}/": Case("any", path=lambda world: {"table": "orders"}),
    "GET /api/v1/api-keys/": listed("key"),
    "POST /api/v1/api-keys/": Case(
        "any", body=lambda world: {"name": "n", "scopes": ["operate"]}, ok=201
    ),
    "GET /api/v1/api-keys/{id}/": Case("private", **of("key")),
    "POST /api/v1/api-keys/{id}/revoke/": Case("private", **of("key")),
    "GET /api/v1/cash-flows/": listed("cash_flow"),
    "POST /api/v1/cash-flows/": Case(
        "foreign",
        body=lambda world: {"connection": str(world.connection.pk), "amount": "-250"},
        ok=201,
        others=INVALID,
    ),
    "GET /api/v1/cash-flows/{id}/": Case("own", **of("cash_flow")),
    "GET /api/v1/channels/": listed("channel"),
    "POST /api/v1/channels/": Case(
        "any", body=lambda world: {"name": "n", "url": "ftp://x"}, ok=400
    ),
    "GET /api/v1/channels/{id}/": Case("private", **of("channel")),
    "PATCH /api/v1/channels/{id}/": Case(
        "private", **of("channel", body=lambda world: {"digest": "HOURLY"})
    ),
    "GET /api/v1/channels/{id}/messages/": Case("private", **of("channel")),
    "POST /api/v1/channels/{id}/messages/{message}/resend/": Case(
        "private",
        path=lambda world: {"id": world.channel.pk, "message": world.webhook_message.pk},
        ok=202,
    ),
    "POST /api/v1/channels/{id}/rotate-secret/": Case("private", **of("channel", ok=409)),
    "POST /api/v1/channels/webhooks/": Case(
        "any", body=lambda world: {"name": "n", "url": "ftp://x"}, ok=400
    ),
    "POST /api/v1/channels/browsers/": Case(
        "any",
        body=lambda world: {"name": "n", "endpoint": "ftp://x", "p256dh": "x", "auth": "x"},
        ok=400,
    ),
    "GET /api/v1/channels/push-key/": Case("any"),
    "DELETE /api/v1/channels/{id}/": Case("private", **of("channel", ok=204)),
    "POST /api/v1/channels/{id}/test/": Case("private", **of("channel", ok=202)),
    "POST /api/v1/channels/{id}/confirm/": Case(
        "private", **of("channel", body=lambda world: {"code": "no"}, ok=400)
    ),
    "POST /api/v1/channels/{id}/resend/": Case("private", **of("channel", ok=409)),
    "GET /api/v1/connections/": listed("connection"),
    "POST /api/v1/connections/": Case(
        "foreign", body=NEW_CONNECTION, ok=201, others=INVALID, operators=400
    ),
    "POST /api/v1/connections/paper/": Case("any", ok=409),  # no prices are shared there
    "GET /api/v1/connections/{id}/": Case("own", **of("connection")),
    "GET /api/v1/connections/{id}/instruments/": Case("own", **of("connection")),
    "PATCH /api/v1/connections/{id}/": Case(
        "own", **of("connection", body=lambda world: {"name": "changed"})
    ),
    "DELETE /api/v1/connections/{id}/": Case("own", **of("connection", ok=409)),  # it trades
    "PUT /api/v1/connections/{id}/credentials/": Case(
        "own", **of("connection", body=lambda world: {"credentials": {"password": "x"}}, ok=204)
    ),
    "POST /api/v1/connections/{id}/pause/": Case("own", **of("connection")),
    "POST /api/v1/connections/{id}/resume/": Case("own", **of("connection")),
    "POST /api/v1/connections/{id}/test/": Case("own", **of("connection", ok=202)),
    "GET /api/v1/data-connections/": listed("prices"),
    "GET /api/v1/data-connections/{id}/": Case("own", **of("prices")),
    "PATCH /api/v1/data-connections/{id}/": Case(
        "own", **of("prices", body=lambda world: {"is_active": False})
    ),
    "GET /api/v1/decision-providers/": listed("provider"),
    "POST /api/v1/decision-providers/": Case("any", body=lambda world: {"name": "n"}, ok=201),
    "GET /api/v1/decision-providers/{id}/": Case("own", **of("provider")),
    "PATCH /api/v1/decision-providers/{id}/": Case(
        "own", **of("provider", body=lambda world: {"name": "c"})
    ),
    "DELETE /api/v1/decision-providers/{id}/": Case("own", **of("provider", ok=204)),
    "GET /api/v1/drift/": listed("drift"),
    "GET /api/v1/drift/{id}/": Case("own", **of("drift")),
    "POST /api/v1/drift/{id}/adopt/": Case("own", **of("drift", ok=409)),
    "POST /api/v1/drift/{id}/relink/": Case("own", **of("drift", ok=409)),
    "POST /api/v1/drift/{id}/close/": Case("own", **of("drift")),
    "POST /api/v1/drift/{id}/ignore/": Case(
        "own", **of("drift", body=lambda world: {"reason": "mine"})
    ),
    "POST /api/v1/drift/compare/": Case(
        "foreign", body=lambda world: {"connection": str(world.connection.pk)}, ok=202
    ),
    "GET /api/v1/execution-logs/": listed("log"),
    "GET /api/v1/execution-logs/{id}/": Case("own", **of("log")),
    "GET /api/v1/feeds/": Case("list", shows=lambda world: world.feed.slug),
    "POST /api/v1/feeds/": Case("any", body=lambda world: {"name": "New one"}, ok=201),
    "GET /api/v1/feeds/{slug}/": Case("own", **slug()),
    "GET /api/v1/feeds/{slug}/record/": Case("own", **slug()),
    "GET /api/v1/feeds/{slug}/record/trades/": Case("own", **slug()),
    "GET /api/v1/feeds/{slug}/record/links/": Case("own", **slug()),
    "GET /api/v1/feeds/{slug}/record/head/": Case("own", **slug()),
    "PATCH /api/v1/feeds/{slug}/": Case("own", **slug(body=lambda world: {"name": "c"})),
    "POST /api/v1/feeds/{slug}/archive/": Case("own", **slug()),
    "POST /api/v1/feeds/{slug}/close-trades/": Case("own", **slug()),
    "GET /api/v1/feeds/{slug}/approval-requests/": Case("own", **slug()),
    "POST /api/v1/feeds/{slug}/request-approval/": Case("own", **slug(), ok=409),
    "POST /api/v1/feeds/{slug}/withdraw-request/": Case("own", **slug()),
    "POST /api/v1/feeds/{slug}/approve/": Case("operator", **slug()),
    "POST /api/v1/feeds/{slug}/refuse/": Case(
        "operator", **slug(body=lambda world: {"sentence": "no"}, ok=409)
    ),
    "GET /api/v1/feeds/{slug}/terms/": Case("own", **slug()),
    "POST /api/v1/feeds/{slug}/terms/": Case(
        "own", **slug(body=lambda world: {"text": "t"}, ok=201)
    ),
    "GET /api/v1/feeds/{slug}/followers/": Case("own", **slug()),
    "GET /api/v1/feeds/{slug}/drafts/": Case("own", **slug()),
    "POST /api/v1/feeds/{slug}/drafts/": Case(
        "own", **slug(body=lambda world: {"action": "OPEN", "body": {}}, ok=201)
    ),
    "GET /api/v1/feeds/{slug}/drafts/{draft_id}/": Case("own", **slug()),
    "PATCH /api/v1/feeds/{slug}/drafts/{draft_id}/": Case(
        "own", **slug(body=lambda world: {"body": {"note": "n"}, "version": 1})
    ),
    "POST /api/v1/feeds/{slug}/drafts/{draft_id}/publish/": Case("own", **slug(ok=400)),
    "POST /api/v1/feeds/{slug}/drafts/{draft_id}/discard/": Case("own", **slug()),
    "GET /api/v1/feeds/{slug}/tokens/": Case("own", **slug()),
    "POST /api/v1/feeds/{slug}/tokens/": Case("own", **slug(ok=201)),
    "GET /api/v1/feeds/{slug}/alerts/": Case("own", **slug()),
    "GET /api/v1/feeds/{slug}/alert-mapping/": Case("own", **slug()),
    "PATCH /api/v1/feeds/{slug}/alert-mapping/": Case(
        "own", **slug(body=lambda world: {"mapping": {}})
    ),
    "POST /api/v1/feeds/{slug}/alerts/read/": Case(
        "own", **slug(body=lambda world: {"text": "BUY EURUSD"})
    ),
    "GET /api/v1/feeds/{slug}/telegram-bot/": Case("own", **slug()),
    "POST /api/v1/feeds/{slug}/telegram-bot/": Case(
        "own", **slug(body=lambda world: {"token": "no token"}, ok=400)
    ),
    "PATCH /api/v1/feeds/{slug}/telegram-bot/": Case(
        "own", **slug(body=lambda world: {"is_paused": True})
    ),
    "POST /api/v1/feeds/{slug}/telegram-bot/remove/": Case("own", **slug(ok=204)),
    "PATCH /api/v1/feeds/{slug}/telegram-bot/chats/{chat_id}/": Case(
        "own", **slug(body=lambda world: {"is_allowed": True})
    ),
    "POST /api/v1/feeds/{slug}/tokens/{token_id}/rotate/": Case(
        "own", **slug(body=lambda world: {"old_ends_at": "2999-01-01T00:00:00Z"}, ok=201)
    ),
    "POST /api/v1/feeds/{slug}/tokens/{token_id}/revoke/": Case("own", **slug()),
    "GET /api/v1/kill-switch/": listed("halt"),
    "POST /api/v1/kill-switch/": Case(
        "foreign",
        body=lambda world: {
            "scope": "CONNECTION",
            "mode": "HALTED",
            "reason": "r",
            "connection": str(world.connection.pk),
        },
        ok=201,
        others=INVALID,
    ),
    "GET /api/v1/kill-switch/{id}/": Case("own", **of("halt")),
    "POST /api/v1/kill-switch/{id}/release/": Case("own", **of("halt")),
    "GET /api/v1/me/": Case("any"),
    "PATCH /api/v1/me/": Case("any", body=lambda world: {"time_zone": "Europe/Berlin"}),
    "GET /api/v1/news-calendars/": listed("calendar"),
    "POST /api/v1/news-calendars/": Case("any", body=lambda world: {"name": "n"}, ok=201),
    "GET /api/v1/news-calendars/{id}/": Case("own", **of("calendar")),
    "DELETE /api/v1/news-calendars/{id}/": Case("own", **of("calendar", ok=204)),
    "POST /api/v1/news-calendars/{id}/events/": Case(
        "own",
        **of(
            "calendar",
            body=lambda world: {
                "csv": "time,currency,impact,title\n2026-01-02T13:30:00Z,USD,HIGH,Payrolls\n"
            },
        ),
    ),
    "GET /api/v1/notifications/": listed("notification"),
    "GET /api/v1/notifications/{id}/": Case("private", **of("notification")),
    "POST /api/v1/notifications/read/": Case(
        "any", body=lambda world: {"ids": [world.notification.pk]}
    ),
    "GET /api/v1/orders/": listed("filled"),
    "GET /api/v1/orders/{id}/": Case("own", **of("filled")),
    "PATCH /api/v1/orders/{id}/": Case(
        "own", **of("filled", body=lambda world: {"stop_loss": "1.37"})
    ),
    "POST /api/v1/orders/{id}/cancel/": Case("own", **of("pending")),
    "POST /api/v1/orders/{id}/retry/": Case("operator", **of("failed")),
    "POST /api/v1/orders/cancel-all/": Case(
        "any", body=lambda world: {"connection": str(world.connection.pk)}
    ),
    "GET /api/v1/positions/": listed("position"),
    "GET /api/v1/positions/{id}/": Case("own", **of("position")),
    "PATCH /api/v1/positions/{id}/": Case(
        "own", **of("position", body=lambda world: {"take_profit": "1.45"})
    ),
    "POST /api/v1/positions/{id}/break-even/": Case("own", **of("position")),
    "PUT /api/v1/positions/{id}/trailing/": Case(
        "own", **of("position", body=lambda world: {"distance": "30"})
    ),
    "DELETE /api/v1/positions/{id}/trailing/": Case("own", **of("position", ok=409)),
    "POST /api/v1/positions/{id}/close/": Case("own", **of("position", ok=202)),
    "POST /api/v1/positions/close-all/": Case(
        "any", body=lambda world: {"connection": str(world.connection.pk)}, ok=202
    ),
    "GET /api/v1/preflights/": listed("preflight"),
    "POST /api/v1/preflights/": Case(
        "foreign",
        body=lambda world: {"connection": str(world.connection.pk), "feed": world.feed.slug},
        ok=202,
        others=INVALID,
    ),
    "GET /api/v1/preflights/{id}/": Case("own", **of("preflight")),
    "GET /api/v1/presets/": listed("preset"),
    "POST /api/v1/presets/": Case(
        "any", body=lambda world: {"name": "n", "risk_percent": "1"}, ok=201
    ),
    "GET /api/v1/presets/{id}/": Case("own", **of("preset")),
    "PATCH /api/v1/presets/{id}/": Case("own", **of("preset", body=lambda w: {"name": "c"})),
    "DELETE /api/v1/presets/{id}/": Case("own", **of("preset", ok=409)),  # a connection has it
    "GET /api/v1/presets/{id}/example/": Case(
        "own", **of("preset", query=lambda w: {"connection": str(w.connection.pk)})
    ),
    "GET /api/v1/presets/{id}/uses/": Case("own", **of("preset")),
    "GET /api/v1/signals/": listed("signal"),
    "POST /api/v1/signals/": Case(
        "foreign",
        body=lambda world: {"feed": world.feed.slug, "symbol": "EURUSD", "direction": "BUY"},
        ok=201,
        others=(404, "FEED_UNKNOWN"),
    ),
    "GET /api/v1/signals/{id}/": Case("own", **of("signal")),
    "GET /api/v1/signals/{id}/results/": Case("own", **of("signal")),
    "GET /api/v1/signals/{id}/preview/": Case("own", **of("signal")),
    "GET /api/v1/signals/{id}/notional/": Case("own", **of("signal", ok=409)),  # no limit
    "POST /api/v1/signals/preview/": Case(
        "foreign",
        body=lambda world: {"feed": world.feed.slug, "symbol": "EURUSD", "direction": "BUY"},
        others=(404, "FEED_UNKNOWN"),
    ),
    "POST /api/v1/signals/bracket/": Case(
        "foreign",
        body=lambda world: {
            "feed": world.feed.slug,
            "symbol": "EURUSD",
            "direction": "BUY",
            "sl": "1.38",
            "tp": "1.4",
        },
        ok=201,
        others=(404, "FEED_UNKNOWN"),
    ),
    "POST /api/v1/signals/oco/": Case(
        "foreign",
        body=lambda world: {
            "feed": world.feed.slug,
            "symbol": "EURUSD",
            "legs": [
                {"direction": "BUY", "order_type": "STOP", "stop_price": "1.4"},
                {"direction": "SELL", "order_type": "STOP", "stop_price": "1.38"},
            ],
        },
        ok=201,
        others=(404, "FEED_UNKNOWN"),
    ),
    "POST /api/v1/signals/oco/preview/": Case(
        "foreign",
        body=lambda world: {
            "feed": world.feed.slug,
            "symbol": "EURUSD",
            "legs": [
                {"direction": "BUY", "order_type": "STOP", "stop_price": "1.4"},
                {"direction": "SELL", "order_type": "STOP", "stop_price": "1.38"},
            ],
        },
        others=(404, "FEED_UNKNOWN"),
    ),
    "POST /api/v1/signals/{id}/approve/": Case("operator", **of("signal")),
    "POST /api/v1/signals/{id}/reject/": Case("operator", **of("signal")),
    "POST /api/v1/signals/{id}/cancel/": Case("own", **of("signal")),
    "POST /api/v1/signals/{id}/publish/": Case("own", **of("published")),
    "GET /api/v1/subscriptions/": listed("subscription"),
    "POST /api/v1/subscriptions/": Case(
        "foreign",
        body=lambda world: {"connection": str(world.connection.pk), "feed": world.feed.slug},
        ok=409,  # its symbols were never read
        others=INVALID,
    ),
    "GET /api/v1/subscriptions/{id}/": Case("own", **of("subscription")),
    "PATCH /api/v1/subscriptions/{id}/": Case(
        "own", **of("subscription", body=lambda world: {"multiplier": "2"})
    ),
    "DELETE /api/v1/subscriptions/{id}/": Case("own", **of("subscription", ok=204)),
    "POST /api/v1/subscriptions/{id}/pause/": Case("own", **of("subscription")),
    "POST /api/v1/subscriptions/{id}/resume/": Case("own", **of("subscription")),
    "GET /api/v1/subscriptions/{id}/rounding-debt/": Case("own", **of("subscription")),
    "GET /api/v1/subscriptions/{id}/route/": Case("own", **of("subscription", ok=409)),
    "GET /api/v1/subscriptions/{id}/comparison/": Case("own", **of("twinned")),
    "POST /api/v1/subscriptions/{id}/twin/": Case("own", **of("subscription", ok=409)),  # paper
    "POST /api/v1/subscriptions/{id}/stop-twin/": Case("own", **of("twinned")),
    "GET /api/v1/trading-pauses/": listed("pause"),
    "GET /api/v1/trading-pauses/{id}/": Case("own", **of("pause")),
    "POST /api/v1/trading-pauses/{id}/resume/": Case("own", **of("pause")),
    "GET /api/v1/loss-limits/": listed("limit"),
    "POST /api/v1/loss-limits/": Case(
        "foreign",
        body=lambda world: {"preset": world.preset.pk, "window": "WEEK", "maximum": "10"},
        ok=201,
        others=INVALID,
    ),
    "GET /api/v1/loss-limits/{id}/": Case("own", **of("limit")),
    "PATCH /api/v1/loss-limits/{id}/": Case(
        "own", **of("limit", body=lambda world: {"maximum": "4"})
    ),
    "DELETE /api/v1/loss-limits/{id}/": Case("own", **of("limit", ok=204)),
    "POST /hooks/tradingview/{feed}/{token}/": Case("token"),
    "GET /hooks/tradingview/{feed}/{token}/alerts/{alert}/": Case("token"),
}


def test_every_endpoint_is_in_the_matrix() -> None:
    operations = {f"{method.upper()} {path}" for method, path in operation_ids()}
    assert operations == set(CASES)


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
    "signals_feed", "signals_feedtoken", "signals_telegrambot", "signals_telegramchat",
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
TRADES = ("orders", "positions", "signals", "drift", "kill-switch", "subscriptions")
TRADING_ENDS = ("close-trades/", "publish/", "approve/", "credentials/")


def moves_money(name: str) -> bool:
    """Return whether an operation sends, changes, stops or lets through orders."""
    method, path = name.split(" ")
    resource = path.removeprefix("/api/v1/").split("/")[0]
    return method != "GET" and (resource in TRADES or path.endswith(TRADING_ENDS))


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
    if resource in ("signals", "feeds"):
        return Scope.PUBLISH
    return Scope.TRADE if resource in ("orders", "positions", "drift") else Scope.OPERATE


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
    plenty = settings.API_RATES
    with Walk() as walk:
        for name in walk.each(KEYED):
            case, scope = CASES[name], required_scope(name)
            settings.API_RATES = plenty | {str(other): 0 for other in Scope if other != scope}
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


def ids(data: Any) -> set[str]:
    return {str(result.get("id", result.get("slug"))) for result in data["results"]}
