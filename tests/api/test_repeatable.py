"""Idempotency-Key: each POST of the schema, sent twice with one key, is carried out once."""

from collections.abc import Callable
from copy import deepcopy
from datetime import timedelta
from decimal import Decimal
from functools import cache, partial
from threading import Thread
from typing import Any

import pytest
from django.db import connection as database
from django.db import transaction
from django.utils import timezone

from api import reference
from common.clocks import market_now
from common.models import KeptAnswer
from common.tasks import sweep_kept_answers_task
from connections.models import DataConnection
from events import push_keys
from events.confirmation import code_of, request_confirmation
from events.models import Channel
from events.webhook_services import create_webhook
from execution.models import DriftItem
from signals.feeds.approval_requests import request_approval
from signals.feeds.services import create_feed
from signals.models import Feed
from tests.api.calls import outcome
from tests.api.cases import CASES, Case, slug
from tests.api.conftest import AsWeb
from tests.api.factories import World, demo_account, sample_order
from tests.api.schemas import whole_schema
from tests.api.test_problems import problem
from tests.connections import make
from tests.lock_waits import until_one_waits
from tests.matrix import WALK_TIME, Cell, Walk
from users.services import create_api_key

PREFIX = "POST /api/v1/"
KEYLESS = {
    "feeds/{slug}/alerts/read/": "shows how a text is read",
    "signals/preview/": "shows what would happen",
    "signals/oco/preview/": "shows what would happen",
}
ENDPOINTS = {
    "POST /hooks/tradingview/{feed}/{token}/": "senders set no headers; resends are recognised",
}
OWN = {"orders/cancel-all/", "positions/close-all/", "signals/", "signals/bracket/", "signals/oco/"}
"""They recognise a repetition for good, and answer with what there is."""
SECRETS = {
    "api-keys/", "channels/webhooks/", "channels/{id}/rotate-secret/", "feeds/{slug}/tokens/",
    "feeds/{slug}/tokens/{token_id}/rotate/",
}  # fmt: skip
NO_EFFECT = {
    "connections/{id}/resume/": "it is not paused",
    "subscriptions/{id}/resume/": "it is not paused",
    "feeds/{slug}/withdraw-request/": "there is no request",
    "signals/{id}/publish/": "it is published",
}


def unconfirmed(world: World, *, asked: bool) -> Channel:
    channel = Channel.objects.create(
        user=world.alice, name="new", url_sealed=b"box", url_display="mailto:a@…"
    )
    if asked:
        request_confirmation(channel.pk)
    channel.refresh_from_db()
    return channel


def webhook(world: World) -> Channel:
    return create_webhook(user_id=world.alice.pk, name="w", url="https://8.8.8.8/in")[0]


def waiting_feed(world: World, *, asked: bool) -> Feed:
    feed = create_feed(owner=world.alice, name="To all", is_public=True, description="d" * 50)
    if asked:
        request_approval(feed.pk, by=world.alice)
    return feed


def good_draft(world: World) -> Any:
    world.draft.body = {"symbol": "EURUSD", "direction": "BUY", "sl": "1.30"}
    world.draft.save()
    return {"slug": world.feed.slug, "draft_id": world.draft.pk}


def new_subscription(world: World) -> dict[str, Any]:
    fresh = make.connection(world.alice, account="fresh")
    make.ready(fresh, "EUR/USD")
    return {"connection": str(fresh.pk), "feed": world.public.slug}


def to_publish(world: World) -> dict[str, Any]:
    return {"feed": world.feed.slug, "symbol": "EURUSD", "direction": "BUY"}


def pushed_source(world: World) -> dict[str, Any]:
    settings = {"symbols": ["EUR/USD"]}
    create = DataConnection.objects.create
    return {"id": create(user=world.alice, name="Ours", kind="push", settings=settings).pk}


def pushed_body(world: World) -> dict[str, Any]:
    quote = {"symbol": "EUR/USD", "bid": "1.1", "ask": "1.2", "time": timezone.now().isoformat()}
    return {"quotes": [quote]}


def difference(world: World, kind: str, **fields: Any) -> dict[str, Any]:
    """Let the account's broker hold a position that we do not know, or other levels than ours."""
    book = "fresh"
    make.instrument(
        "EURUSD", "EUR/USD", book=book, digits=5, pip=Decimal("0.0001"), quantity_max=1_000_000
    )
    type(world.connection).objects.filter(pk=world.connection.pk).update(instrument_book=book)
    theirs = {
        "side": "BUY", "quantity": "1000", "entry_price": "1.386", "stop_loss": "1.379",
        "take_profit": None,
    }  # fmt: skip
    evidence = {
        "symbol": "EURUSD", "ours": None, "theirs": theirs, "broker_position_id": "770",
        "client_order_id": "", "differs": "", "opened_at": market_now().isoformat(),
    }  # fmt: skip
    item = DriftItem.objects.create(
        kind=kind, connection=world.connection, key="770", evidence=evidence, **fields
    )
    return {"id": item.pk}


def moved_levels(world: World) -> dict[str, Any]:
    return difference(world, "LEVELS_DIFFER", position_id=world.position.pk)


def live_subscription(world: World) -> dict[str, Any]:
    """Give Alice an account with real money that takes a feed: it may have a paper twin."""
    DataConnection.objects.create(name="Recorded quotes")
    row = make.ready(make.connection(world.alice, type="mt5", account="77", preset=world.preset))
    return {"id": make.subscription(row, world.public).pk}


@pytest.fixture(autouse=True)
def push_key(settings: Any) -> None:
    """Let browsers subscribe to push messages."""
    private = push_keys.new_private_key()
    settings.FILLCAST_PUSH_PRIVATE_KEYS = (private,)
    settings.FILLCAST_PUSH_PUBLIC_KEY = push_keys.public_key_of(private)


BOT = "123456:" + "A" * 35
HERE: dict[str, Case] = {
    "api-keys/{id}/revoke/": Case(
        "own", path=lambda w: {"id": create_api_key(w.alice, "not this one")[0].pk}
    ),
    "channels/": Case("any", body=lambda w: {"name": "n", "url": "mailto:a@example.com"}, ok=201),
    "channels/webhooks/": Case(
        "any", body=lambda w: {"name": "n", "url": "https://8.8.8.8/in"}, ok=201
    ),
    "channels/{id}/rotate-secret/": Case("own", path=lambda w: {"id": webhook(w).pk}),
    "channels/{id}/confirm/": Case(
        "own",
        path=lambda w: {"id": unconfirmed(w, asked=True).pk},
        body=lambda w: {"code": code_of(Channel.objects.get(name="new"))},
    ),
    "channels/{id}/resend/": Case(
        "own", path=lambda w: {"id": unconfirmed(w, asked=False).pk}, ok=202
    ),
    "connections/paper/": Case("any", ok=201),
    "connections/{id}/sample-order/": Case(
        "own", path=lambda w: {"id": demo_account(w).pk}, ok=201
    ),
    "connections/{id}/sample-order/close/": Case(
        "own", path=lambda w: {"id": sample_order(w).pk}, ok=202
    ),
    "data-connections/{id}/quotes/": Case("own", path=pushed_source, body=pushed_body),
    "drift/{id}/adopt/": Case("own", path=lambda w: difference(w, "UNKNOWN_POSITION")),
    "drift/{id}/relink/": Case("own", path=moved_levels),
    "feeds/{slug}/request-approval/": Case(
        "own", path=lambda w: {"slug": waiting_feed(w, asked=False).slug}, ok=201
    ),
    "feeds/{slug}/approve/": Case(
        "operator", path=lambda w: {"slug": waiting_feed(w, asked=True).slug}
    ),
    "feeds/{slug}/refuse/": Case(
        "operator",
        path=lambda w: {"slug": waiting_feed(w, asked=True).slug},
        body=lambda w: {"sentence": "no"},
    ),
    "feeds/{slug}/drafts/{draft_id}/publish/": Case(
        "own", path=good_draft, body=lambda w: {"version": w.draft.version}, ok=201
    ),
    "channels/browsers/": Case(
        "any", body=lambda w: reference.requests()["create_browser_channel"], ok=201
    ),
    "subscriptions/{id}/twin/": Case("own", path=live_subscription, ok=201),
    "feeds/{slug}/telegram-bot/": Case("own", **slug(body=lambda w: {"token": BOT}, ok=201)),
    "subscriptions/": Case("any", body=new_subscription, ok=201),
}


def operations() -> dict[str, dict[str, Any]]:
    paths = whole_schema()["paths"]
    return {f"POST {path}": methods["post"] for path, methods in paths.items() if "post" in methods}


def short(name: str) -> str:
    return name.removeprefix(PREFIX)


POSTS = [name for name in CASES if name.startswith(PREFIX) and short(name) not in KEYLESS]


def test_every_post_takes_a_key_or_is_named_with_its_reason() -> None:
    taking = {
        name
        for name, operation in operations().items()
        if "Idempotency-Key" in {one["name"] for one in operation.get("parameters", ())}
    }
    assert taking == set(POSTS)
    assert set(operations()) - taking == {PREFIX + name for name in KEYLESS} | set(ENDPOINTS)


def address_of(case: Case, world: World, path: str) -> str:
    for argument, value in case.path(world).items():
        path = path.replace("{" + argument + "}", str(value))
    return path


@WALK_TIME
def test_second_request_with_the_key_changes_nothing(world: World, as_web: AsWeb) -> None:
    with Walk() as walk:
        for name in walk.each(POSTS):
            with walk.cell(name) as cell:
                expect_carried_out_once(cell, deepcopy(world), as_web, name)


def expect_carried_out_once(cell: Cell, world: World, as_web: AsWeb, name: str) -> None:
    """Send an operation twice with a key."""
    place = short(name)
    if place == "connections/paper/":
        DataConnection.objects.create(user=None, name="shared", kind="static")
    case = HERE.get(place, CASES[name])
    client = world.client("olga" if case.kind == "operator" else "alice")
    path, body = address_of(case, world, name.split()[1]), case.body(world)

    def send() -> Any:
        return client.post(path, body, format="json", HTTP_IDEMPOTENCY_KEY="once")

    with as_web():
        before = writes()
        first = send()
        after = writes()
        second = send()
        now = writes()
    cell.expect(case.ok, first.status_code, "first")
    cell.expect(place not in NO_EFFECT, after != before, "the first has an effect")
    changed = [table for table in after if now[table] != after[table]]
    cell.expect([], changed, "changed by the second")
    expect_second_answer(cell, place, case, first, second)


def expect_second_answer(cell: Cell, place: str, case: Case, first: Any, second: Any) -> None:
    found = (second.status_code, second.content)
    if place in SECRETS:
        problem(second, 409, "SECRET_SHOWN_ONCE")
        cell.expect("", KeptAnswer.objects.get().body, "kept answer")
    elif place in OWN:
        cell.expect_one({200, case.ok}, second.status_code, "second")
        cell.expect(False, "Idempotency-Replayed" in second, "second is replayed")
    else:
        cell.expect((first.status_code, first.content), found, "second")
        cell.expect("true", second.get("Idempotency-Replayed"), "Idempotency-Replayed")
        cell.expect(False, "Idempotency-Replayed" in first, "first is replayed")


OTHER: dict[str, Callable[[World], dict[str, Any]]] = {
    "orders/cancel-all/": lambda w: {"feed": w.feed.slug},
    "positions/close-all/": lambda w: {"feed": w.feed.slug},
    "signals/": lambda w: {"symbol": "GBPUSD"},
    "signals/bracket/": lambda w: {"direction": "SELL", "sl": "1.45", "tp": "1.30"},
    "signals/oco/": lambda w: {"symbol": "GBPUSD"},
    "connections/paper/": lambda w: {"currency": "EUR"},
    "feeds/{slug}/close-trades/": lambda w: {"symbol": "GBPUSD"},
    "feeds/{slug}/drafts/": lambda w: {"body": {"symbol": "GBPUSD"}},
    "feeds/{slug}/tokens/": lambda w: {"name": "another"},
}
"""Other contents than in the tables of cases."""


@WALK_TIME
def test_other_contents_change_nothing(world: World, as_web: AsWeb) -> None:
    client = world.client("alice")
    with Walk() as walk:
        for name in walk.each(OTHER):
            with walk.cell(name, "alice") as cell:
                if name == "connections/paper/":
                    DataConnection.objects.create(user=None, name="shared", kind="static")
                case = HERE.get(name, CASES[PREFIX + name])
                send = partial(
                    client.post, address_of(case, world, f"/api/v1/{name}"), format="json",
                    HTTP_IDEMPOTENCY_KEY="once",
                )  # fmt: skip
                body = case.body(world) or {}
                with as_web():
                    cell.expect(case.ok, send(body).status_code, "first")
                    before = writes()
                    refused = send(body | OTHER[name](world))
                    now = writes()
                code = "DUPLICATE_SIGNAL" if name.startswith("signals/") else "DUPLICATE_REQUEST"
                cell.expect(f"409 {code}", outcome(refused), "other contents")
                cell.expect([], [one for one in before if now[one] != before[one]], "changed")


def test_operations_with_their_own_keys_are_in_the_table() -> None:
    assert set(OTHER) >= OWN


def test_draft_is_answered_as_at_first_after_it_was_changed(world: World) -> None:
    client, path = world.client("alice"), f"/api/v1/feeds/{world.feed.slug}/drafts/"
    body = {"action": "OPEN", "body": {"symbol": "EURUSD"}}

    def send() -> Any:
        return client.post(path, body, format="json", HTTP_IDEMPOTENCY_KEY="once")

    first = send()
    change = {"body": {"symbol": "GBPUSD"}, "version": 1}
    changed = client.patch(f"{path}{first.json()['id']}/", change, format="json")
    assert changed.status_code == 200, changed.content
    again = send()
    assert (again.status_code, again.json()) == (201, first.json())
    assert client.get(f"{path}{first.json()['id']}/").json()["body"] == {"symbol": "GBPUSD"}


def writes() -> dict[str, int]:
    """Return how many rows of each table this transaction has written, tried ones included.

    Without the tables that every request writes.
    """
    with database.cursor() as cursor:
        cursor.execute(_writes_query())
        return dict(cursor.fetchall())


@cache
def _writes_query() -> str:
    not_ours = ("common_keptanswer", "users_apikeynetwork", "common_trail%", "django_%")
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT tablename, format('public.%%I', tablename)::regclass::oid::int FROM pg_tables"
            " WHERE schemaname = 'public' AND NOT tablename LIKE ANY(%s)",
            ([*not_ours],),
        )
        tables = ", ".join(f"('{table}', {oid})" for table, oid in cursor.fetchall())
    written = " + ".join(
        f"pg_stat_get_xact_tuples_{kind}(oid)" for kind in ("inserted", "updated", "deleted")
    )
    return f"SELECT name, {written} FROM (VALUES {tables}) AS t (name, oid)"


def new_feed(world: World, name: Any = "One", *, key: str = "k", who: str = "alice") -> Any:
    client = world.client(who)
    return client.post("/api/v1/feeds/", {"name": name}, format="json", HTTP_IDEMPOTENCY_KEY=key)


def test_other_contents_under_the_key_are_refused(world: World) -> None:
    assert new_feed(world).status_code == 201
    problem(new_feed(world, "Two"), 409, "DUPLICATE_REQUEST")
    assert not Feed.objects.filter(name="Two").exists()


def test_contents_are_compared_by_meaning(world: World) -> None:
    client = world.client("alice")
    bodies = (
        '{"connection": "%s", "amount": 250.50}',
        '{"amount": "250.5", "connection": "%s"}',
    )
    answers = [
        client.generic(
            "POST", "/api/v1/cash-flows/", body % world.connection.pk,
            content_type="application/json", HTTP_IDEMPOTENCY_KEY="k",
        )
        for body in bodies
    ]  # fmt: skip
    assert answers[0].status_code == 201
    assert answers[1].content == answers[0].content
    other = {"connection": str(world.connection.pk), "amount": "250.51"}
    refused = client.post("/api/v1/cash-flows/", other, format="json", HTTP_IDEMPOTENCY_KEY="k")
    problem(refused, 409, "DUPLICATE_REQUEST")


def test_query_is_a_part_of_the_contents(world: World) -> None:
    client = world.client("alice")
    path = f"/api/v1/connections/{world.connection.pk}/pause/"
    assert client.post(path, HTTP_IDEMPOTENCY_KEY="k").status_code == 200
    problem(client.post(path + "?now=1", HTTP_IDEMPOTENCY_KEY="k"), 409, "DUPLICATE_REQUEST")


def test_key_belongs_to_its_user_and_operation(world: World) -> None:
    first, other = new_feed(world), new_feed(world, "Two", who="paula")
    assert [first.status_code, other.status_code] == [201, 201]
    slug = first.json()["slug"]
    archived = world.client("alice").post(
        f"/api/v1/feeds/{slug}/archive/", HTTP_IDEMPOTENCY_KEY="k"
    )
    assert archived.status_code == 200
    assert archived.json()["archived_at"]


def test_refused_request_may_be_corrected_under_its_key(world: World) -> None:
    assert new_feed(world, "").status_code == 400
    assert new_feed(world, "One").status_code == 201


def test_trial_does_not_use_up_the_key(world: World) -> None:
    client = world.client("alice")
    halt = {"scope": "USER", "mode": "HALTED", "reason": "r"}

    def send(body: dict[str, Any]) -> Any:
        path = "/api/v1/kill-switch/"
        return client.post(path, body, format="json", HTTP_IDEMPOTENCY_KEY="k")

    assert send(halt | {"dry_run": True}).status_code == 200
    assert send(halt).status_code == 201


@pytest.mark.parametrize("off", ["false", "0", 0, False])
def test_what_is_no_trial_keeps_its_key(world: World, off: object) -> None:
    client = world.client("alice")
    halt = {"scope": "USER", "mode": "HALTED", "reason": "r", "dry_run": off}
    path = "/api/v1/kill-switch/"
    for replayed in (None, "true"):
        sent = client.post(path, halt, format="json", HTTP_IDEMPOTENCY_KEY="k")
        assert (sent.status_code, sent.get("Idempotency-Replayed")) == (201, replayed)


@pytest.mark.parametrize("key", ["k" * 256, "ü", "a\tb"])
def test_malformed_key_is_refused(world: World, key: str) -> None:
    error = problem(new_feed(world, key=key), 400, "FIELD_INVALID")
    assert error["errors"][0]["field"] == "Idempotency-Key"


def test_long_key_is_taken_everywhere(world: World) -> None:
    key = "k" * 255
    assert new_feed(world, key=key).status_code == 201
    client = world.client("alice")
    codes = [
        client.post(
            "/api/v1/signals/", to_publish(world), format="json", HTTP_IDEMPOTENCY_KEY=key
        ).status_code
        for _ in range(2)
    ]
    assert codes == [201, 200]


def test_answer_is_kept_for_a_day(world: World) -> None:
    first = new_feed(world)
    KeptAnswer.objects.update(created_at=timezone.now() - timedelta(hours=23, minutes=59))
    assert new_feed(world).content == first.content
    KeptAnswer.objects.update(created_at=timezone.now() - timedelta(hours=24, seconds=1))
    assert new_feed(world, "Two").status_code == 201
    assert KeptAnswer.objects.count() == 1


def test_old_answers_are_deleted(world: World) -> None:
    new_feed(world)
    new_feed(world, "Two", key="old")
    day = timedelta(hours=24, seconds=1)
    KeptAnswer.objects.filter(key="old").update(created_at=timezone.now() - day)
    sweep_kept_answers_task()
    assert [row.key for row in KeptAnswer.objects.all()] == ["k"]


def test_kept_rows_hold_no_secret_of_the_request(world: World) -> None:
    client = world.client("alice")
    secret = "a-password-of-the-broker"
    body = {"name": "n", "type": "paper", "account": "78", "credentials": {"password": secret}}
    created = client.post("/api/v1/connections/", body, format="json", HTTP_IDEMPOTENCY_KEY="k")
    assert created.status_code == 201
    with database.cursor() as cursor:
        cursor.execute("SELECT t::text FROM common_keptanswer t")
        assert secret not in str(cursor.fetchall())


@pytest.mark.django_db(transaction=True)
def test_second_request_during_the_first_has_to_wait(world: World) -> None:
    """The first one waits for the user's row, which another session holds."""
    answers: list[Any] = []

    def send() -> None:
        client = world.client("alice")
        path = f"/api/v1/connections/{world.connection.pk}/pause/"
        answers.append(client.post(path, HTTP_IDEMPOTENCY_KEY="k"))
        database.close()

    first = Thread(target=send)
    with transaction.atomic():
        list(type(world.connection).objects.select_for_update().filter(pk=world.connection.pk))
        first.start()
        until_one_waits()
        second = Thread(target=send)
        second.start()
        second.join(60)
        assert len(answers) == 1, "the second one was answered before the first"
        problem(answers[0], 409, "REQUEST_RUNNING")
        assert answers[0]["Retry-After"] == "1"
    first.join(60)
    assert answers[1].status_code == 200
    send()
    assert answers[2].content == answers[1].content
    assert answers[2]["Idempotency-Replayed"] == "true"


@pytest.mark.django_db(transaction=True)
def test_killed_first_request_leaves_neither_effect_nor_key(world: World) -> None:
    """Its session ends while it waits: the server tries the request again, as the first one."""
    answers: list[Any] = []

    def send() -> None:
        path = f"/api/v1/connections/{world.connection.pk}/pause/"
        answers.append(world.client("alice").post(path, HTTP_IDEMPOTENCY_KEY="k"))
        database.close()

    first = Thread(target=send)
    with transaction.atomic():
        list(type(world.connection).objects.select_for_update().filter(pk=world.connection.pk))
        first.start()
        until_one_waits()
        with database.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            assert cursor.fetchall() == [(True,)]
    first.join(60)
    assert answers[0].status_code == 200
    assert "Idempotency-Replayed" not in answers[0]
    assert KeptAnswer.objects.count() == 1
