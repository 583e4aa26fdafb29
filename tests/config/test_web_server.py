"""The web process without requests: a signal wakes it, and the time of its answers is right."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from config.env import Settings
from ops.stack.process import ProcessSpec
from ops.stack.stack import web_process
from tests.until import until
from tests.web_process import ROOT, WebProcess

CODES = {signal.SIGTERM: -signal.SIGTERM, signal.SIGINT: 0}
pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize("number", list(CODES), ids=lambda number: number.name)
def test_signal_wakes_a_web_process_that_sleeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    def sleeper(settings: Settings) -> ProcessSpec:
        code = "import config.web_server as web; web.DATE_SECONDS = 600; web.main()"
        return replace(web_process(settings), command=(sys.executable, "-c", code))

    monkeypatch.setattr("ops.stack.stack.web_process", sleeper)
    with WebProcess(tmp_path / "log") as web:
        assert web.end(number) == CODES[number]


def test_date_of_answers_goes_on(tmp_path: Path) -> None:
    with WebProcess(tmp_path / "log") as web:

        def date() -> str:
            return web.browser().get("/healthz").headers["Date"]

        first = date()
        assert abs(parsedate_to_datetime(first) - datetime.now(UTC)) < timedelta(minutes=1)
        until(lambda: date() != first)


def test_invalid_setting_ends_the_web_process_with_a_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "config.web_server"], env={**os.environ, "FILLCAST_LISTEN": "none"},
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert done.returncode == 1
    assert "FILLCAST_LISTEN" in done.stderr
    assert "Traceback" not in done.stderr
