"""The alert endpoint of a real web process: its secrets are not logged, and it is throttled."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.core.cache import cache
from django.db import connection

from api.throttling import ANONYMOUS, AlertThrottle, rate_of
from common.operational.source import VARIABLE, with_settings
from signals.feeds.rate import seconds_to_wait
from signals.feeds.services import create_feed_token
from tests.connections import make
from tests.until import until
from tests.web_process import Answer, WebProcess
from users.services import create_api_key

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]
ALERT = json.dumps({"symbol": "FX:EURUSD", "direction": "buy", "sl": "1.08"})


class AlertEndpoint:
    """A feed's address for alerts, and the web process that serves it."""

    def __init__(self, web: WebProcess, log: Path) -> None:
        owner = make.user("paula")
        feed = make.feed(owner, slug="majors", is_approved=True)
        self.key = create_api_key(owner, "script")[1]
        self.secret = create_feed_token(feed)[1]
        self.signed, self.signing_secret = create_feed_token(feed, signed=True)
        self.path = f"/hooks/tradingview/majors/{self.secret}/"
        self._web, self._log = web, log

    def post(self, path: str, body: str = ALERT, **headers: str) -> Answer:
        sent = {"Content_Type": "application/json", **headers}
        return self._web.browser()._ask("POST", path, body, sent)

    def log(self) -> str:
        """Return what the process has logged; access and error log are the same stream."""
        return self._log.read_text()


@pytest.fixture(params=["json", "console"])
def endpoint(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[AlertEndpoint]:
    log = tmp_path / "web.log"
    source = with_settings("", {"messages.log_level": "DEBUG"})
    module = {"json": "tests.json_log_settings", "console": "config.settings"}[request.param]
    settings = {VARIABLE: source, "DJANGO_SETTINGS_MODULE": module}
    with WebProcess(log, **settings) as web:
        yield AlertEndpoint(web, log)


def test_secrets_of_the_alert_endpoint_are_never_logged(endpoint: AlertEndpoint) -> None:
    """With accepted and refused alerts, mistyped addresses and a failing database."""
    path, secret = endpoint.path, endpoint.secret
    responses = {
        "accepted": endpoint.post(path),
        "sent again": endpoint.post(path),
        "no JSON": endpoint.post(path, f"not json {secret}"),
        "unknown field": endpoint.post(path, json.dumps({"symbol": secret, "other": secret})),
        "wrong method": endpoint._web.browser().get(path),
        "another feed": endpoint.post(path.replace("majors", "elsewhere")),
        "cut short": endpoint.post(path[:-3] + "/"),
        "no slash at its end": endpoint.post(path.rstrip("/")),
        "capitals": endpoint.post(path.replace("hooks", "Hooks")),
        "doubled slash": endpoint.post(path.replace("/majors/", "//majors//")),
        "quoted": endpoint.post("/hooks/tradingview%2Fmajors%2F" + secret + "%2F"),
        "another address": endpoint.post(f"/hook/{secret}"),
        "in the query": endpoint.post(f"/nowhere/?token={secret}&a={quote('/' + secret)}"),
        "a key in the query": endpoint._web.browser().get(
            f"/nowhere/{endpoint.key}/?api={endpoint.key}"
        ),
        "no signature": endpoint.post(f"/hooks/tradingview/majors/{endpoint.signing_secret}/"),
        "wrong signature": endpoint.post(
            f"/hooks/tradingview/majors/{endpoint.signing_secret}/",
            X_Fillcast_Signature=f"sha256={endpoint.signed.signing_key}",
        ),
        "referrer": endpoint.post("/nowhere/", Referer=f"https://fillcast.example{path}"),
    }
    statuses = {name: response.status for name, response in responses.items()}
    assert (statuses.pop("accepted"), statuses.pop("sent again"), statuses.pop("quoted")) == (
        202,
        202,
        202,
    )
    assert {name: status for name, status in statuses.items() if not 300 < status < 500} == {}
    with _without_table():
        assert endpoint.post(path, ALERT.replace("1.08", "1.07")).status == 500
    until(lambda: "ProgrammingError" in endpoint.log(), seen=endpoint.log)
    for name, hidden in (
        ("token", secret), ("signed token", endpoint.signing_secret), ("API key", endpoint.key),
        ("signing key", endpoint.signed.signing_key),
    ):  # fmt: skip
        lines = [line for line in endpoint.log().splitlines() if hidden[12:-4] in line]
        assert lines == [], (name, lines[:3])
    assert "/hooks/tradingview/majors/[hidden]/" in endpoint.log()


class _without_table:
    """Rename the endpoint's own table meanwhile, so that an alert fails with a server error."""

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
def throttled_endpoint(process: tuple[WebProcess, Path]) -> Iterator[AlertEndpoint]:
    cache.clear()
    yield AlertEndpoint(*process)
    cache.clear()


def _use_up(name: str, limit: int) -> None:
    """Set the count of this address to the limit, for this minute and the next."""
    for minute in (0, 60):
        key = f"rate:{name}:{int(time.time() + minute) // 60}"
        cache.set(key, limit, timeout=180)
    assert seconds_to_wait(name, limit=limit) > 0


def test_address_with_too_many_alerts_gets_retry_after(throttled_endpoint: AlertEndpoint) -> None:
    assert throttled_endpoint.post(throttled_endpoint.path).status == 202
    _use_up("alerts-from:127.0.0.1", AlertThrottle.limit)
    refused = throttled_endpoint.post(throttled_endpoint.path)
    assert (refused.status, json.loads(refused.body)["code"]) == (429, "THROTTLED")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60


def test_wrong_tokens_are_throttled_and_valid_ones_of_the_address_are_not(
    throttled_endpoint: AlertEndpoint,
) -> None:
    wrong = [
        throttled_endpoint.post(f"/hooks/tradingview/majors/{n:058x}/").status
        for n in range(2 * rate_of(ANONYMOUS) + 10)
    ]
    assert set(wrong) == {404, 429}
    assert wrong.count(404) <= 2 * rate_of(ANONYMOUS)  # a minute may begin meanwhile
    assert throttled_endpoint.post(throttled_endpoint.path).status == 202
