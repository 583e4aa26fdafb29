"""The web process of a started stack, and what its log has of a request."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from common.operational.document import RATES
from common.operational.source import VARIABLE, with_settings
from ops.bootstrap import development_secrets
from tests.server_folders import server_folder
from tests.web_process import ROOT, WebProcess

METRICS_TOKEN = "scrape-9f2c41d07be8"
UNLIMITED = {f"api_rates.{rate}": 1_000_000 for rate in RATES}
QUICK_SIGN_IN = {
    "DJANGO_SETTINGS_MODULE": "tests.stack.quick_settings",
    "TEST_HASH_ITERATIONS": "1000",
}
ERRORS_ONLY = {"messages.log_level": "ERROR"}


class RunningStack:
    """A web process with the role, servers and secrets that `manage.py stack` gives it.

    It has no workers: what they do meanwhile would decide what a request finds.
    """

    def __init__(self, web: WebProcess, log: Path) -> None:
        self.port, self._log = web.port, log

    def error_of(self, request_id: str) -> str:
        """Return the error that a request left in the web process's log, in one line."""
        for line in self._log.read_text(errors="replace").splitlines():
            if request_id in line and line.startswith("{"):
                entry: dict[str, str] = json.loads(line)
                if trace := entry.get("exception"):
                    return _summary(trace)
        return "nothing in the web process's log"


def _summary(trace: str) -> str:
    """Return the last line of a traceback, and the last of its places that is ours."""
    places = re.findall(rf'File "{re.escape(str(ROOT))}/(?!\.venv)(\S+)", line (\d+)', trace)
    error = next((line for line in reversed(trace.splitlines()) if line[:1].strip()), "")
    return f"{error} ({':'.join(places[-1])})" if places else error


@contextmanager
def running_stack() -> Iterator[RunningStack]:
    """Start the web process on the test's database and Redis; end it afterwards."""
    with server_folder("fillcast-stack-") as folder:
        given = {"FILLCAST_VAR": str(folder), "FILLCAST_DB_ROLE": "web"}
        own = {
            **given,
            **development_secrets(given),
            "FILLCAST_SECRET_KEY": settings.SECRET_KEY,
            "FILLCAST_METRICS_TOKEN": METRICS_TOKEN,
            VARIABLE: with_settings("", {**UNLIMITED, **ERRORS_ONLY}),
            **QUICK_SIGN_IN,
        }
        with WebProcess(folder / "web.log", **own) as web:
            yield RunningStack(web, folder / "web.log")
