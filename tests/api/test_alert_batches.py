"""Alerts in front of Django: the same answers as the view's, batches, and who waits for whom."""

import asyncio
import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.test import Client, override_settings

from alerts.inbox import posts as alert_posts
from alerts.inbox.posts import PostedAlert, receive_alerts
from alerts.inbox.storing import Receipt
from alerts.models import IncomingAlert
from api import alert_batches
from api.alert_batches import (
    LONGEST_WAIT,
    MOST_WAITING,
    AlertBatches,
    NotStoredError,
    Outcome,
    stored_together,
)
from common.operational.current import settings_now
from common.reason_codes import Code
from config.middleware.alert_endpoint import _post_in
from signals.feeds.services import create_feed_token
from signals.models import Feed
from signals.reading.strict_json import MAX_BYTES
from tests.connections import make
from tests.web_process import Answer, WebProcess

pytestmark = pytest.mark.usefixtures("inline_commits")
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


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
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
    assert len(rows) == (0 if status == 413 else 2)
    assert rows[: len(rows) // 2] == rows[len(rows) // 2 :]


@pytest.mark.processes
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


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
def test_alerts_that_arrive_together_are_stored_together(web: WebProcess) -> None:
    path, count = address("busy", alerts_per_minute=1_000), 40
    with web.stopped():
        sent = [
            send(web, path, json.dumps({**json.loads(ENTRY), "external_id": str(number)}))
            for number in range(count)
        ]
    assert {status_of(one) for one in sent} == {202}
    assert IncomingAlert.objects.count() == count
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(DISTINCT xmin::text) FROM alerts_incomingalert")
        assert cursor.fetchone()[0] <= count / 2  # transactions


def outcomes_of(alerts: list[PostedAlert]) -> list[Outcome]:
    """Store alerts that arrived together."""
    return [outcome for known in stored_together(alerts) for outcome in known]


@pytest.mark.django_db(transaction=True)
def test_alert_that_cannot_be_stored_fails_alone() -> None:
    paths = [address("blocked").split("/"), address("other").split("/")]
    alerts = [PostedAlert(parts[3], parts[4], ENTRY.encode()) for parts in paths]
    with locked("SELECT FROM signals_feed WHERE slug = 'blocked' FOR UPDATE"):
        error, receipt = outcomes_of(alerts)
    assert isinstance(error, NotStoredError)
    assert error.code == Code.DATABASE_BUSY
    assert isinstance(receipt, Receipt)
    assert receipt.alert is not None
    assert list(IncomingAlert.objects.values_list("pk", "feed__slug")) == [
        (receipt.alert.pk, "other")
    ]


def test_alert_that_no_repetition_can_store_fails_without_the_next_of_its_feed() -> None:
    slug, secret = address("shared").split("/")[3:5]
    error, receipt = outcomes_of(
        [PostedAlert(slug, secret, ENTRY.encode(), address=sender) for sender in ("nowhere", "")]
    )
    assert isinstance(error, NotStoredError)
    assert (error.code, error.status) == (Code.FIELD_INVALID, 400)
    assert isinstance(receipt, Receipt)
    assert receipt.error is None
    assert IncomingAlert.objects.count() == 1


def test_receipts_name_the_rows_of_their_own_alerts() -> None:
    alerts = []
    for name in ("one", "two", "three"):
        slug, secret = address(name).split("/")[3:5]
        alerts.append(PostedAlert(slug, secret, ENTRY.encode()))
    receipts = receive_alerts([*alerts, alerts[0]])
    names = dict(IncomingAlert.objects.values_list("pk", "feed__slug"))
    rows = [receipt.alert.pk for receipt in receipts if receipt.alert is not None]
    assert [names[row] for row in rows] == ["one", "two", "three", "one"]
    assert rows == sorted(rows)


def test_alerts_are_counted_once_however_often_they_are_tried() -> None:
    slug, secret = address("counted", alerts_per_minute=2).split("/")[3:5]
    alerts = [PostedAlert(slug, secret, ENTRY.encode()) for _ in range(2)]
    for _ in range(2):
        assert [receipt.error for receipt in receive_alerts(alerts)] == [None, None]
    (third,) = receive_alerts([PostedAlert(slug, secret, ENTRY.encode())])
    assert third.error is not None
    assert third.error.code == Code.THROTTLED


def test_alert_that_waited_for_long_is_not_stored_as_a_fresh_one() -> None:
    slug, secret = address("old").split("/")[3:5]
    late = PostedAlert(slug, secret, ENTRY.encode(), arrived_at=datetime.now(UTC) - LONGEST_WAIT)
    with pytest.raises(NotStoredError) as error:
        asyncio.run(AlertBatches().store(late))
    assert error.value.code == Code.DATABASE_BUSY
    assert not IncomingAlert.objects.exists()


def test_deadlines_count_from_the_arrival() -> None:
    slug, secret = address("waited").split("/")[3:5]
    arrived = datetime.now(UTC) - timedelta(seconds=7)
    receive_alerts([PostedAlert(slug, secret, ENTRY.encode(), arrived_at=arrived)])
    (stored,) = IncomingAlert.objects.all()
    assert stored.received_at == arrived
    assert stored.entry_until is not None
    assert stored.entry_until - arrived <= timedelta(
        seconds=settings_now().execution.market_entry_max_age_seconds + 1
    )


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
def test_alerts_are_stored_again_after_the_session_was_lost(web: WebProcess) -> None:
    path = address("lost")
    assert post(web, path).status == 202
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE application_name = 'fillcast-web' AND datname = current_database()"
        )
        assert cursor.fetchone()[0] >= 1
    assert [post(web, path, ENTRY.replace("1.08", "1.07")).status for _ in range(2)] == [202, 202]
    assert IncomingAlert.objects.count() == 3


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
def test_feed_is_in_the_hands_of_one_thread_at_a_time(web: WebProcess) -> None:
    """Its alerts are stored in the order in which they arrived, and delay no other feed."""
    slow, quick = address("ordered"), address("passing")
    with locked("SELECT FROM signals_feed WHERE slug = 'ordered' FOR UPDATE"):
        sent = [send(web, slow, ENTRY.replace("1.08", price)) for price in ("1.07", "1.06", "1.05")]
        has_read_all(web)
        assert post(web, quick).status == 202
    statuses = [status_of(one) for one in sent]
    assert set(statuses) <= {202, 503}  # 503: it was locked for longer than an alert waits
    stored = IncomingAlert.objects.filter(feed__slug="ordered").order_by("pk")
    prices = [json.loads(bytes(one.body))["sl"] for one in stored]
    assert prices == sorted(prices, reverse=True)
    assert len(prices) == statuses.count(202)


async def in_hand(batches: AlertBatches) -> None:
    """Let the loop turn until a thread stores what has been posted."""
    for _ in range(3):
        await asyncio.sleep(0)
    assert batches.in_hand


@pytest.mark.django_db(transaction=True)
def test_locked_feed_delays_its_own_alerts_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        alert_posts, "_LOCK_TIMEOUT", "SELECT set_config('lock_timeout', '60s', true)"
    )
    (slug, secret), (other, its_secret) = (
        address(name).split("/")[3:5] for name in ("first", "another")
    )

    async def posted() -> list[Receipt]:
        """Return the receipts of both alerts of the locked feed."""
        batches = AlertBatches()
        session = await asyncio.to_thread(
            locked, "SELECT FROM signals_feed WHERE slug = 'first' FOR UPDATE"
        )
        with session:
            first = asyncio.create_task(batches.store(PostedAlert(slug, secret, ENTRY.encode())))
            await in_hand(batches)
            second = asyncio.create_task(batches.store(PostedAlert(slug, secret, ENTRY.encode())))
            passed = await batches.store(PostedAlert(other, its_secret, ENTRY.encode()))
            assert passed.error is None
            assert not first.done()
            assert not second.done()
        return [await first, await second]

    receipts = asyncio.run(posted())
    rows = [receipt.alert.pk for receipt in receipts if receipt.alert is not None]
    assert len(rows) == 2
    assert rows == sorted(rows)


@pytest.mark.django_db(transaction=True)
def test_old_alert_is_refused_while_all_threads_are_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        alert_posts, "_LOCK_TIMEOUT", "SELECT set_config('lock_timeout', '60s', true)"
    )
    monkeypatch.setattr(alert_batches, "LONGEST_WAIT", timedelta(seconds=0.3))
    slug, secret = address("held").split("/")[3:5]

    async def posted() -> Receipt:
        batches = AlertBatches()
        session = await asyncio.to_thread(
            locked, "SELECT FROM signals_feed WHERE slug = 'held' FOR UPDATE"
        )
        with session:
            first = asyncio.create_task(batches.store(PostedAlert(slug, secret, ENTRY.encode())))
            await in_hand(batches)
            with pytest.raises(NotStoredError) as error:
                await batches.store(PostedAlert(slug, secret, ENTRY.encode()))
            assert error.value.code == Code.DATABASE_BUSY
            assert not first.done()
        return await first

    assert asyncio.run(posted()).alert is not None
    assert IncomingAlert.objects.count() == 1


def test_alert_behind_too_many_others_is_refused_at_once() -> None:
    slug, secret = address("many").split("/")[3:5]
    alert = PostedAlert(slug, secret, ENTRY.encode(), arrived_at=datetime.now(UTC) - LONGEST_WAIT)

    async def posted() -> None:
        batches = AlertBatches()
        waiting = [asyncio.create_task(batches.store(alert)) for _ in range(MOST_WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(NotStoredError) as error:
            await batches.store(alert)
        assert error.value.code == Code.DATABASE_BUSY
        assert not any(one.done() for one in waiting)
        await asyncio.gather(*waiting, return_exceptions=True)

    asyncio.run(posted())


@pytest.mark.parametrize("lines", [["203.0.113.9", "198.51.100.1"], ["203.0.113.9,198.51.100.1"]])
def test_addresses_of_several_proxies_are_joined(lines: list[str]) -> None:
    scope = {
        "type": "http", "method": "POST", "path": "/hooks/tradingview/a/b/", "scheme": "http",
        "client": ("127.0.0.1", 1),
        "headers": [
            (b"host", b"localhost"), *((b"x-forwarded-for", one.encode()) for one in lines)
        ],
    }  # fmt: skip
    with override_settings(
        FILLCAST_TRUSTED_PROXIES=(ip_network("127.0.0.1"), ip_network("198.51.100.1"))
    ):
        found = _post_in(scope)
    assert found is not None
    assert found.address == "203.0.113.9"
