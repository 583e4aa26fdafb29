"""`GET /api/v1/stream/` in the web process as in production: each tenant's own, resumed by id."""

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.db import transaction
from django.test import Client
from rest_framework.test import APIRequestFactory

from buses.stream import past
from buses.stream.access import Access, access_of
from buses.stream.api import NAMES
from buses.stream.past import TooOldError, require_recent
from buses.stream.place import Place
from common.permissions import Role
from events.models import EventKind
from events.services import emit
from tests.analytics import factories
from tests.buses.schemas import check_json
from tests.roles import staff
from tests.web_process import WebProcess
from users.models import ApiKey, User
from users.services import create_api_key

PATH = "/api/v1/stream/"


class Sent(NamedTuple):
    """One event of a stream; `data` is JSON."""

    event: str
    id: str
    data: Any


class Reader:
    """A client of the stream."""

    def __init__(self, port: int, key: str, last: str = "", query: str = "") -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=110)
        headers = {"Authorization": f"Bearer {key}"} | ({"Last-Event-ID": last} if last else {})
        self._connection.request("GET", PATH + query, headers=headers)
        self.answer = self._connection.getresponse()
        self.last_id = last

    def next(self) -> Sent:
        """Wait for the next event."""
        event, data = "", ""
        while line := self.answer.readline().decode():
            name, _, text = line.rstrip("\n").partition(": ")
            if name == "id":
                self.last_id = text
            elif name == "event":
                event = text
            elif name == "data":
                data = text
            elif not line.strip() and data:
                return Sent(event, self.last_id, json.loads(data))
        return Sent("closed", self.last_id, None)

    def started(self) -> "Reader":
        """Wait for the place from which it begins."""
        while not self.last_id:
            self.last_id = self._id_of(self.answer.readline().decode())
        return self

    @staticmethod
    def _id_of(line: str) -> str:
        return line.removeprefix("id: ").strip() if line.startswith("id: ") else ""

    def close(self) -> None:
        self._connection.close()


@contextmanager
def reading(port: int, key: str, **more: str) -> Iterator[Reader]:
    reader = Reader(port, key, **more)
    try:
        yield reader.started()
    finally:
        reader.close()


@pytest.fixture
def web(transactional_db: None, tmp_path: Path) -> Iterator[WebProcess]:
    with WebProcess(tmp_path / "log") as process:
        yield process


def happen(user: User | None, number: int) -> None:
    with transaction.atomic():
        emit(
            EventKind.TRADING_RESUMED,
            user_id=user.pk if user else None,
            payload={"number": number},
        )


def number(sent: Sent) -> int:
    check_json(sent.data)
    return int(sent.data["data"]["payload"]["number"])


@pytest.mark.processes
def test_stream_is_resumed_limited_to_its_tenant_and_ends_with_its_key(web: WebProcess) -> None:
    alice, bob = factories.user("alice"), factories.user("bob")
    operator = staff(Role.OPERATOR)
    keys = {user: create_api_key(user, "k")[1] for user in (alice, bob, operator)}
    with reading(web.port, keys[alice]) as hers, reading(web.port, keys[operator]) as all_of_them:
        assert hers.answer.headers["Content-Type"] == "text/event-stream"
        happen(bob, 1)
        happen(alice, 2)
        happen(None, 3)
        assert [number(all_of_them.next()) for _ in range(3)] == [1, 2, 3]
        first = hers.next()
        assert (first.event, number(first)) == ("fillcast.notice.v1", 2)
    happen(bob, 4)
    happen(alice, 5)
    with reading(web.port, keys[alice], last=first.id) as hers:
        again = hers.next()
        while number(again) == 2:  # at least once
            again = hers.next()
        assert number(again) == 5
        happen(alice, 6)
        assert number(hers.next()) == 6
        ApiKey.objects.filter(user=alice).update(revoked_at="2026-01-01T00:00:00Z")
        ended = hers.next()
        assert (ended.event, ended.data["reason"]) == ("end", "The key or session has ended.")
        assert hers.next().event == "closed"
    assert Reader(web.port, keys[alice]).answer.status == 401


@pytest.mark.processes
def test_eleventh_stream_of_a_user_is_refused(web: WebProcess) -> None:
    _, key = create_api_key(factories.user("alice"), "k")
    readers = [Reader(web.port, key).started() for _ in range(10)]
    refused = Reader(web.port, key).answer
    assert (refused.status, json.loads(refused.read())["code"]) == (409, "QUOTA_REACHED")
    for reader in readers:
        reader.close()


@pytest.mark.django_db
def test_stream_needs_a_user() -> None:
    assert Client().get(PATH).status_code == 401


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("query", "header", "field"),
    [
        ({"types": "order_update,unknown"}, "", "types"),
        ({}, "abc", "Last-Event-ID"),
        ({}, "1-2-3", "Last-Event-ID"),
        ({}, "1-2-3-4-5-" + "9" * 40, "Last-Event-ID"),
    ],
)
def test_unreadable_request_is_refused(query: dict[str, str], header: str, field: str) -> None:
    _, key = create_api_key(factories.user("alice"), "k")
    headers = {"Authorization": f"Bearer {key}", "Last-Event-ID": header}
    answer = Client().get(PATH, query, headers=headers)
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_place_is_read_back() -> None:
    place = Place(3, dict.fromkeys(NAMES, 7)).at("fills", 9)
    assert place.text() == "3-7-9-7-7-7"
    assert Place.parse(place.text(), NAMES) == place


def test_place_of_another_epoch_or_long_ago_is_not_caught_up() -> None:
    start = Place(2, dict.fromkeys(NAMES, past.MOST_ROWS + 10))
    require_recent(start.at("log", 10), start)
    for old in (Place(1, start.read), start.at("log", 9)):
        with pytest.raises(TooOldError):
            require_recent(old, start)


@pytest.mark.django_db
def test_session_ends_its_stream_when_the_password_or_role_changes() -> None:
    operator, client = staff(Role.SUPPORT), Client()

    def access() -> Access:
        client.force_login(operator)
        request = APIRequestFactory().get(PATH)
        request.user, request.session = operator, client.session
        operator.key_id = None
        return access_of(request)

    first = access()
    assert (first.is_operator, first.is_still_allowed()) == (True, True)
    operator.set_password("another one 4711")
    operator.save()
    assert not first.is_still_allowed()
    second = access()
    assert second.is_still_allowed()
    client.logout()
    assert not second.is_still_allowed()
    third = access()
    operator.groups.clear()
    assert not third.is_still_allowed()
