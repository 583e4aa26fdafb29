"""The matrix: each operation of the API, with a call of it about an object of Alice.

test_matrix.py fails if an operation of the OpenAPI schema is missing.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.api.factories import World

Values = Callable[[World], dict[str, Any]]


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
    is_for_staff: bool = False  # about no object of Alice: also reading is refused to tenants


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
    "GET /api/v1/analytics/installation/": Case("operator", others=(403, "RIGHT_MISSING")),
    "GET /api/v1/analytics/statistics/": Case("any"),
    "GET /api/v1/analytics/execution/": Case(
        "any", query=lambda world: {"connection": world.connection.pk}
    ),
    "GET /api/v1/trail/": Case("any"),
    "GET /api/v1/stream/": Case("any"),
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
    # The account has no sample order, and its symbols were not read.
    "GET /api/v1/connections/{id}/sample-order/": Case("own", **of("connection", ok=404)),
    "POST /api/v1/connections/{id}/sample-order/": Case("own", **of("connection", ok=409)),
    "POST /api/v1/connections/{id}/sample-order/close/": Case("own", **of("connection", ok=409)),
    "GET /api/v1/data-connections/": listed("prices"),
    "GET /api/v1/data-connections/{id}/": Case("own", **of("prices")),
    "PATCH /api/v1/data-connections/{id}/": Case(
        "own", **of("prices", body=lambda world: {"is_active": False})
    ),
    "POST /api/v1/data-connections/{id}/quotes/": Case(  # it is a recording
        "own", **of("prices", body=lambda world: {"quotes": [{}]}, ok=409)
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
    "GET /api/v1/settings/": Case("operator", others=(403, "RIGHT_MISSING"), is_for_staff=True),
    "POST /api/v1/settings/": Case(
        "operator",
        body=lambda world: {"document": {"execution": {"poll_seconds": 1}}, "why": "A test."},
        ok=201,
        others=(403, "RIGHT_MISSING"),
        is_for_staff=True,
    ),
    "GET /api/v1/settings/current/": Case(
        "operator", others=(403, "RIGHT_MISSING"), is_for_staff=True
    ),
    "GET /api/v1/settings/{id}/": Case(
        "operator", **of("version"), others=(403, "RIGHT_MISSING"), is_for_staff=True
    ),
    "POST /api/v1/settings/{id}/restore/": Case(
        "operator", **of("version", ok=201), others=(403, "RIGHT_MISSING"), is_for_staff=True
    ),
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
        "foreign", body=lambda world: {"connection": str(world.connection.pk)}
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
        "foreign", body=lambda world: {"connection": str(world.connection.pk)}, ok=202
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
