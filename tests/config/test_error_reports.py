"""Errors reach Sentry without what belongs to clients; the real SDK sends to a local receiver."""

import gzip
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
import structlog

from brokers.base import OutcomeUnknown
from common.operational.document import Document, Observe
from common.reason_codes import Code
from config import error_reports, logs
from tests.fakes.http_server import serving_http
from tests.operational import set_setting
from tests.ports import closed_port
from tests.until import until

SECRET, PRICE = "sk-live-4f9a27c1e0b84d77a1", Decimal("1.09345")
log = structlog.get_logger("tests.reports")


class Receiver:
    """A Sentry server: the envelopes that it was sent, and whether it answers at all."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.may_answer = threading.Event()
        self.may_answer.set()

    def events(self) -> list[dict[str, Any]]:
        found = []
        for body in self.bodies:
            lines = body.split(b"\n")
            items = zip(lines[1::2], lines[2::2], strict=False)
            found += [json.loads(item) for head, item in items if b'"event"' in head]
        return found

    def handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                is_gzip = self.headers.get("Content-Encoding") == "gzip"
                receiver.bodies.append(gzip.decompress(raw) if is_gzip else raw)
                receiver.may_answer.wait(120)
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: Any) -> None:
                """Print nothing."""

        return Handler


def with_dsn(dsn: str | None) -> Document:
    return replace(Document(), observe=Observe(sentry_dsn=dsn))


@pytest.fixture
def sentry() -> Iterator[Receiver]:
    pytest.importorskip("sentry_sdk")
    receiver = Receiver()
    with serving_http(receiver.handler()) as port:
        error_reports.use(with_dsn(f"http://abcdef@127.0.0.1:{port}/7"))
        yield receiver
        receiver.may_answer.set()
        error_reports.use(Document())


def sent(sentry: Receiver) -> dict[str, Any]:
    until(lambda: len(sentry.events()) == 1)
    return sentry.events()[0]


def fail(api_key: str, price: Decimal) -> None:
    balance = price * 10
    raise ValueError(
        f"account 7710034 of alice@example.com refused {api_key} at {price}: {balance};"
        " login of Alice Miller refused with password hunterSecret"
    )


def test_error_of_structlog_is_reported_with_its_places(sentry: Receiver) -> None:
    try:
        fail(SECRET, PRICE)
    except ValueError:
        log.exception("order failed", price=PRICE, api_key=SECRET, account="7710034")
    event = sent(sentry)
    assert event["logentry"]["message"] == "order failed"
    [value] = event["exception"]["values"]
    assert value["type"] == "ValueError"
    frame = value["stacktrace"]["frames"][-1]
    assert (frame["function"], frame["lineno"] > 0) == ("fail", True)
    assert set(frame) <= {"filename", "function", "module", "lineno", "in_app", "abs_path"}


def test_no_secret_and_no_figure_of_a_client_is_reported(sentry: Receiver) -> None:
    try:
        try:
            fail(SECRET, PRICE)
        except ValueError as error:
            raise RuntimeError(f"Failing row contains ({SECRET}, {PRICE}).") from error
    except RuntimeError:
        log.exception("position 812 at 1.09345", stop=PRICE, headers={"Authorization": SECRET})
        text = json.dumps(sent(sentry))
    for canary in (
        SECRET, SECRET[8:], "1.09345", "10.9345", "7710034", "alice", "812", "Miller", "hunter",
        "refused", "Failing row", "None",
    ):  # fmt: skip
        assert canary not in text, canary
    values = sent(sentry)["exception"]["values"]
    assert [one["type"] for one in values] == ["ValueError", "RuntimeError"]
    assert not any(one.get("value") for one in values)
    assert "breadcrumbs" not in text
    assert "Authorization" not in text
    assert sent(sentry).keys() <= error_reports.KNOWN


def test_line_of_the_standard_library_is_reported_without_parameters(sentry: Receiver) -> None:
    logging.getLogger("tests.plain").error("cannot reach %s with %s", "db.internal", SECRET)
    event = sent(sentry)
    assert event["logentry"] == {"message": "cannot reach %s with %s"}
    assert "exception" not in event


def test_error_that_was_only_a_warning_is_not_added_to_another_line(sentry: Receiver) -> None:
    log.warning("retried", exc_info=ZeroDivisionError())
    logging.getLogger("tests.plain").error("something else")
    assert "exception" not in sent(sentry)


def test_error_that_is_handed_over_is_reported(sentry: Receiver) -> None:
    log.error("a sink failed", exc_info=OutcomeUnknown(Code.REPLY_LOST, f"login {SECRET}"))
    [value] = sent(sentry)["exception"]["values"]
    assert (value["type"], value["value"]) == ("OutcomeUnknown", "REPLY_LOST")


class _WithCode(Exception):
    def __init__(self, code: Any) -> None:
        super().__init__("login of Alice Miller refused")
        self.code = code


@pytest.mark.parametrize(
    ("code", "reported"),
    [(404, "404"), ("RETCODE_10012", "RETCODE_10012"), (None, None), ("", None),
     ("hunterSecret", None), ("login refused", None), (12345678, None)],
)  # fmt: skip
def test_only_a_code_is_reported_of_an_error(sentry: Receiver, code: Any, reported: Any) -> None:
    log.error("a sink failed", exc_info=_WithCode(code))
    [value] = sent(sentry)["exception"]["values"]
    assert (value["type"], value.get("value")) == ("_WithCode", reported)


def test_text_that_a_package_has_filled_in_is_not_reported(sentry: Receiver) -> None:
    record = logging.LogRecord(
        "package.client", logging.ERROR, "/venv/site-packages/package/client.py", 7,
        "login of Alice Miller refused", None, None,
    )  # fmt: skip
    logging.getLogger().handle(record)
    assert sent(sentry)["logentry"] == {"message": "an error of package.client"}


@pytest.mark.parametrize(
    "text",
    [
        f"password={SECRET}", f"token: {SECRET}", f"invalid key '{SECRET}'", SECRET,
        f"postgresql://owner:{SECRET}@db/x", f"DETAIL (id, key)=(7, {SECRET})",
        f"first line\n{SECRET}", f'{{"key": "{SECRET}"}}',
    ],
)  # fmt: skip
def test_secret_is_masked_in_any_message(text: str) -> None:
    assert SECRET not in error_reports.masked(text)
    assert error_reports.masked("connection timed out") == "connection timed out"


def test_hanging_receiver_delays_no_log_line(sentry: Receiver) -> None:
    """The first report is not answered; later ones wait in a queue of 100, or are dropped."""
    sentry.may_answer.clear()
    for _ in range(300):
        log.error("order failed")
    until(lambda: len(sentry.bodies) >= 1)
    assert len(sentry.events()) == 1  # and this thread is here


def test_dead_receiver_is_harmless(sentry: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    with closed_port() as port:
        error_reports.use(with_dsn(f"http://abcdef@127.0.0.1:{port}/7"))
        log.error("order failed")
        error_reports._sdk.flush(timeout=60)
    assert sentry.events() == []
    assert [record.name for record in caplog.records] == ["tests.reports"]  # no line for each try


def test_another_dsn_is_used_from_then_on_and_none_ends_reports(sentry: Receiver) -> None:
    other = Receiver()
    with serving_http(other.handler()) as port:
        set_setting("observe.sentry_dsn", f"http://abcdef@127.0.0.1:{port}/8")
        log.error("order failed")
        until(lambda: len(other.events()) == 1)
        set_setting("observe.sentry_dsn", None)
        log.error("order failed")
        assert error_reports._sdk is None
    assert (len(other.events()), sentry.events()) == (1, [])


def test_missing_extra_is_stated_and_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "sentry_sdk", None)
    error_reports.use(with_dsn("https://abcdef@sentry.example/7"))
    assert error_reports.MISSING in caplog.text


def test_root_logger_has_the_handler() -> None:
    config = logs.logging_config("json", "INFO")
    assert config["root"]["handlers"] == ["stderr", "reports"]


def test_nothing_is_imported_while_it_is_off() -> None:
    code = "import config.error_reports, sys; print('sentry_sdk' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
