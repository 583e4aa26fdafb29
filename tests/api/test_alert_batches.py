"""Alerts in front of Django: the same answers as the view's, batches, and who waits for whom."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import psycopg
import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client

from api.alert_batches import NotStoredError, _settle
from common.reason_codes import Code
from signals.alert_posts import PostedAlert
from signals.alerts import Receipt
from signals.feeds import create_feed_token
from signals.models import Feed, IncomingAlert
from signals.rate import forget_failures
from signals.strict_json import MAX_BYTES
from tests.connections import make
from tests.web_process import Answer, WebProcess

pytestmark = pytest.mark.django_db(transaction=True)
ENTRY = json.dumps({"symbol": "FX:EURUSD", "direction": "buy", "sl": "1.08"})
OF_ONE_ANSWER = ("alert", "status", "request_id", "help")  # help: with the process's own address
OF_DJANGO = ("Vary", "Allow", "Content-Length")  # these headers state nothing of the alert


@pytest.fixture(scope="module")
def web(
    tmp_path_factory: pytest.TempPathFactory, django_db_setup: None, django_db_blocker: Any
) -> Iterator[WebProcess]:
    with (
        django_db_blocker.unblock(),
        WebProcess(tmp_path_factory.mktemp("web") / "web.log") as process,
    ):
        yield process


@pytest.fixture(autouse=True)
def fresh_counters() -> None:
    forget_failures()
    cache.clear()


def address(slug: str, **fields: Any) -> str:
    """Create a feed of its own; return its address for alerts."""
    owner = make.user(f"provider-of-{slug}")
    feed = make.feed(owner, slug=slug, **{"is_approved": True, **fields})
    return f"/hooks/tradingview/{slug}/{create_feed_token(feed)[1]}/"


def post(web: WebProcess, path: str, body: str = ENTRY) -> Answer:
    return web.browser()._ask("POST", path, body, {"Content_Type": "application/json"})


def locked(sql: str, *parameters: object) -> psycopg.Connection[Any]:
    """Return another session that holds the locks of a statement until it is closed."""
    ours = connection.settings_dict
    session = psycopg.connect(
        host=ours["HOST"], port=ours["PORT"], dbname=ours["NAME"], user=ours["USER"],
        password=ours["PASSWORD"],
    )  # fmt: skip
    session.execute(sql, parameters)
    return session


@pytest.mark.parametrize(
    ("slug", "fields", "body", "status"),
    [
        ("accepted", {}, ENTRY, 202),
        ("empty", {}, "", 400),
        ("unclear", {}, "buy!", 400),
        ("faults", {}, json.dumps({"symbol": "EURUSD", "direction": "up", "sl": "x"}), 400),
        ("large", {}, "x" * (MAX_BYTES + 1), 413),
        ("unapproved", {"is_approved": False}, ENTRY, 403),
        ("elsewhere", {"alert_sources": ["203.0.113.7"]}, ENTRY, 403),
        ("unsigned", {"alerts_signed_only": True}, ENTRY, 403),
    ],
)
def test_answer_is_that_of_the_view(
    web: WebProcess, slug: str, fields: dict[str, Any], body: str, status: int
) -> None:
    path = address(slug, **fields)
    if slug == "unsigned":
        Feed.objects.filter(slug=slug).update(alerts_signed_only=True)
    answer = post(web, path, body)
    view: Any = Client().post(path, body, content_type="application/json")
    assert answer.status == view.status_code == status
    bodies = [json.loads(answer.body), view.json()]
    for one in bodies:
        assert all(one.pop(name) for name in OF_ONE_ANSWER if name in one)
    assert bodies[0] == bodies[1]
    wanted = {name: text for name, text in view.headers.items() if name not in OF_DJANGO}
    assert {name: answer.headers[name] for name in wanted} == wanted
    fields_of = ("state", "code", "detail", "refusal", "errors", "symbol", "address")
    rows = list(IncomingAlert.objects.order_by("pk").values(*fields_of))
    assert rows[: len(rows) // 2] == rows[len(rows) // 2 :]


def test_wrong_address_is_not_found_like_any_other(web: WebProcess) -> None:
    path = address("known")
    for wrong in (path[:-4] + "/", "/hooks/tradingview/nowhere/0123456789abcdef/", f"{path}more/"):
        answer, view = post(web, wrong), Client().post(wrong, ENTRY, "application/json")
        assert answer.status == view.status_code == 404
        assert json.loads(answer.body)["code"] == view.json()["code"]
    assert not IncomingAlert.objects.exists()


def send(web: WebProcess, path: str, body: str = ENTRY) -> socket.socket:
    """Post an alert without waiting for its answer."""
    sent = socket.create_connection(("127.0.0.1", web.port), timeout=30)
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    sent.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
    return sent


def status_of(sent: socket.socket) -> int:
    """Wait for the answer to a post; return its status."""
    with sent, sent.makefile("rb") as answer:
        return int(answer.readline().split()[1])


def has_read_all(web: WebProcess) -> None:
    """Wait until the process has read what was sent to it: it reads in order."""
    assert web.browser().get("/healthz").status == 200


def test_alerts_that_arrive_together_are_stored_together(web: WebProcess) -> None:
    path, count = address("busy", alerts_per_minute=1_000), 40
    with locked("LOCK signals_incomingalert IN ACCESS EXCLUSIVE MODE"):
        sent = [
            send(web, path, json.dumps({**json.loads(ENTRY), "external_id": str(number)}))
            for number in range(count)
        ]
        has_read_all(web)
    assert {status_of(one) for one in sent} == {202}
    assert IncomingAlert.objects.count() == count
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(DISTINCT xmin::text) FROM signals_incomingalert")
        # Two batches waited for the lock while the rest arrived.
        assert cursor.fetchone()[0] <= 5


def test_locked_feed_delays_no_other(web: WebProcess) -> None:
    slow, quick = address("locked"), address("free")
    with locked("SELECT FROM signals_feed WHERE slug = 'locked' FOR UPDATE"):
        waiting = send(web, slow)
        has_read_all(web)
        assert post(web, quick).status == 202
        assert list(IncomingAlert.objects.values_list("feed__slug", flat=True)) == ["free"]
    assert status_of(waiting) == 202


def test_alert_that_cannot_be_stored_fails_alone() -> None:
    paths = [address("blocked").split("/"), address("other").split("/")]
    batch: list[tuple[PostedAlert, Future[Receipt]]] = [
        (PostedAlert(parts[3], parts[4], ENTRY.encode()), Future()) for parts in paths
    ]
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '100ms'")
    with locked("SELECT FROM signals_feed WHERE slug = 'blocked' FOR UPDATE"):
        _settle(batch)
    with connection.cursor() as cursor:
        cursor.execute("RESET lock_timeout")
    error = batch[0][1].exception()
    assert isinstance(error, NotStoredError)
    assert error.code == Code.DATABASE_BUSY
    stored = batch[1][1].result().alert
    assert stored is not None
    assert list(IncomingAlert.objects.values_list("pk", "feed__slug")) == [(stored.pk, "other")]
