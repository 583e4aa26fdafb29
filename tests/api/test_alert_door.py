"""The alert door of a real web process: what is logged of its secrets, and how much it takes."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.core.cache import cache
from django.db import connection

from api.throttling import UNAUTHENTICATED_PER_MINUTE, AlertThrottle
from signals.feeds import create_feed_token
from signals.rate import seconds_to_wait
from tests.connections import make
from tests.web_process import Answer, WebProcess
from users.services import create_api_key

pytestmark = pytest.mark.django_db(transaction=True)
ALERT = json.dumps({"symbol": "FX:EURUSD", "direction": "buy", "sl": "1.08"})


class Door:
    """A feed's address for alerts, and a web process that answers there."""

    def __init__(self, web: WebProcess, log: Path) -> None:
        owner = make.user("paula")
        feed = make.feed(owner, slug="majors", is_approved=True)
        self.key = create_api_key(owner, "script")[1]
        self.secret = create_feed_token(feed)[1]
        self.signed, self.signing_secret = create_feed_token(feed, signed=True)
        self.path = f"/hooks/tradingview/majors/{self.secret}/"
        self._web, self._log = web, log

    def post(self, path: str, body: str = ALERT, **headers: str) -> Answer:
        said = {"Content_Type": "application/json", **headers}
        return self._web.browser()._ask("POST", path, body, said)

    def log(self) -> str:
        """What the process has written: access and error log are the same stream."""
        return self._log.read_text()


@pytest.fixture(params=["json", "console"])
def door(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Door]:
    log = tmp_path / "web.log"
    settings = {"FILLCAST_LOG_LEVEL": "DEBUG", "FILLCAST_LOG_FORMAT": request.param}
    with WebProcess(log, **settings) as web:
        yield Door(web, log)


def wait_for(door: Door, text: str) -> None:
    end = time.monotonic() + 30
    while text not in door.log():
        assert time.monotonic() < end, f"not logged: {text}"
        time.sleep(0.05)


def test_secret_of_the_alert_door_is_in_no_log_line(door: Door) -> None:
    """Whatever is answered: accepted, refused, mistyped addresses, a database that fails."""
    path, secret = door.path, door.secret
    statuses = {
        "accepted": door.post(path),
        "again": door.post(path),
        "no JSON": door.post(path, f"not json {secret}"),
        "unknown field": door.post(path, json.dumps({"symbol": secret, "nonsense": secret})),
        "wrong method": door._web.browser().get(path),
        "another feed": door.post(path.replace("majors", "elsewhere")),
        "cut short": door.post(path[:-3] + "/"),
        "no slash at its end": door.post(path.rstrip("/")),
        "capitals": door.post(path.replace("hooks", "Hooks")),
        "doubled slash": door.post(path.replace("/majors/", "//majors//")),
        "quoted": door.post("/hooks/tradingview%2Fmajors%2F" + secret + "%2F"),
        "another address": door.post(f"/hook/{secret}"),
        "in the query": door.post(f"/nowhere/?token={secret}&a={quote('/' + secret)}"),
        "a key in the query": door._web.browser().get(f"/nowhere/{door.key}/?api={door.key}"),
        "no signature": door.post(f"/hooks/tradingview/majors/{door.signing_secret}/"),
        "wrong signature": door.post(
            f"/hooks/tradingview/majors/{door.signing_secret}/",
            X_Fillcast_Signature=f"sha256={door.signed.signing_key}",
        ),
        "referrer": door.post("/nowhere/", Referer=f"https://fillcast.example{path}"),
    }
    told = {name: answer.status for name, answer in statuses.items()}
    assert (told.pop("accepted"), told.pop("again"), told.pop("quoted")) == (201, 200, 200)
    assert {name: status for name, status in told.items() if not 300 < status < 500} == {}
    with _without_table():
        assert door.post(path, ALERT.replace("1.08", "1.07")).status == 500
    wait_for(door, "ProgrammingError")
    for name, hidden in (
        ("token", secret), ("signed token", door.signing_secret), ("API key", door.key),
        ("signing key", door.signed.signing_key),
    ):  # fmt: skip
        lines = [line for line in door.log().splitlines() if hidden[12:-4] in line]
        assert lines == [], (name, lines[:3])
    assert "/hooks/tradingview/majors/[hidden]/" in door.log()


class _without_table:
    """The door's own table is away, so that an alert ends in an error of the server."""

    def __enter__(self) -> None:
        self._rename("signals_feedtoken", "signals_feedtoken_away")

    def __exit__(self, *_: object) -> None:
        self._rename("signals_feedtoken_away", "signals_feedtoken")

    def _rename(self, old: str, new: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {old} RENAME TO {new}")


@pytest.fixture(scope="module")
def process(
    tmp_path_factory: pytest.TempPathFactory, django_db_setup: None, django_db_blocker: Any
) -> Iterator[tuple[WebProcess, Path]]:
    log = tmp_path_factory.mktemp("web") / "web.log"
    with django_db_blocker.unblock(), WebProcess(log) as web:
        yield web, log


@pytest.fixture
def one_door(process: tuple[WebProcess, Path]) -> Iterator[Door]:
    cache.clear()
    yield Door(*process)
    cache.clear()


def _use_up(name: str, limit: int) -> None:
    """Count what others of this address have sent in this minute and in the next one."""
    for minute in (0, 60):
        key = f"rate:{name}:{int(time.time() + minute) // 60}"
        cache.set(key, limit, timeout=180)
    assert seconds_to_wait(name, limit=limit) > 0


def test_an_address_that_posts_too_many_alerts_is_told_when_to_come_again(one_door: Door) -> None:
    assert one_door.post(one_door.path).status == 201
    _use_up("alerts-from:127.0.0.1", AlertThrottle.limit)
    refused = one_door.post(one_door.path)
    assert (refused.status, json.loads(refused.body)["code"]) == (429, "THROTTLED")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60


def test_wrong_tokens_are_held_back_and_good_ones_of_that_address_are_not(one_door: Door) -> None:
    wrong = [
        one_door.post(f"/hooks/tradingview/majors/{n:058x}/").status
        for n in range(2 * UNAUTHENTICATED_PER_MINUTE + 10)
    ]
    assert set(wrong) == {404, 429}
    assert wrong.count(404) <= 2 * UNAUTHENTICATED_PER_MINUTE  # a minute may begin meanwhile
    assert one_door.post(one_door.path).status == 201
