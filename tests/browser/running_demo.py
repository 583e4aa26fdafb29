"""The demo that all processes of a run visit: the first one starts it, and stops it at the end."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from common.operational.source import VARIABLE, with_settings
from tests.fakes.chat_services import chat_services
from tests.ports import free_port
from tests.prepared_database import copy_to
from tests.server_folders import server_folder

ROOT = Path(__file__).parents[2]
READY = "Fillcast keeps running at"
START_SECONDS = 600
BANK = str(ROOT / "tests/fakes/bank_plugin")  # a broker with real money, as far as we know
SECRET_KEY = "signs-the-sessions-of-a-demo-in-tests"
SPEED = "15"  # market seconds a second: the weekend begins half an hour after the start
RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))


@dataclass(frozen=True)
class RunningDemo:
    """Where a demo answers, and the folder in which it keeps its logs.

    meeting: a folder where the processes of the run agree on whose turn it is.
    """

    url: str
    folder: Path
    meeting: Path

    @contextmanager
    def turn(self, *, alone: bool) -> Iterator[None]:
        """Wait until a test may run: beside others, or alone; who waits to be alone goes first."""
        mode = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
        with _locked(self.meeting / "room", mode, behind=self.meeting / "queue"):
            yield


@contextmanager
def shared_demo() -> Iterator[RunningDemo]:
    """Return the demo of this run. TEST_BROWSER_URL and TEST_BROWSER_VAR: one that runs already."""
    meeting = Path(tempfile.gettempdir()) / f"fillcast-browser-{RUN}"
    meeting.mkdir(exist_ok=True)
    if given := os.environ.get("TEST_BROWSER_URL"):
        folder = Path(os.environ.get("TEST_BROWSER_VAR", ROOT / "var"))
        with _locked(users := meeting / "users", fcntl.LOCK_SH):
            yield RunningDemo(given, folder, meeting)
        with suppress(OSError), _locked(users, fcntl.LOCK_EX | fcntl.LOCK_NB):  # the last one
            shutil.rmtree(meeting, ignore_errors=True)
        return
    running, users = meeting / "running.json", meeting / "users"
    with _locked(meeting / "start", fcntl.LOCK_EX):
        if is_first := not running.exists():
            starting = _started(running)
            starting.__enter__()
    try:
        with _locked(users, fcntl.LOCK_SH):
            found = json.loads(running.read_text())
            yield RunningDemo(found["url"], Path(found["folder"]), meeting)
    finally:
        if is_first:
            with _locked(users, fcntl.LOCK_EX):  # the others have ended
                starting.__exit__(None, None, None)
            shutil.rmtree(meeting, ignore_errors=True)


@contextmanager
def _locked(path: Path, mode: int, *, behind: Path | None = None) -> Iterator[None]:
    """Hold a lock on a file. behind: another one, which is held exclusively while waiting."""
    with path.open("ab") as file:
        if behind is None:
            fcntl.flock(file, mode)
        else:
            with _locked(behind, fcntl.LOCK_EX):
                fcntl.flock(file, mode)
        yield


@contextmanager
def _started(running: Path) -> Iterator[None]:
    with server_folder("fillcast-browser-") as folder:
        copy_to(folder / "postgres")
        with chat_services(folder) as chats:
            demo = _Demo(folder, chats)
            try:
                demo.wait()
                running.write_text(json.dumps({"url": demo.url, "folder": str(folder)}))
                yield
            finally:
                demo.stop()


class _Demo:
    """`manage.py demo` in a folder of its own.

    chats: the environment in which its workers reach Discord and Slack on this machine.
    """

    def __init__(self, folder: Path, chats: Mapping[str, str]) -> None:
        self._log = folder / "demo.log"
        (folder / "sends").mkdir()  # removed with it
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        ours = {name: value for name, value in os.environ.items() if "FILLCAST" not in name}
        for name in ("DATABASE_URL", "REDIS_URL"):
            ours.pop(name, None)
        environ = {
            **ours,
            **chats,
            "PYTHONPATH": os.pathsep.join(filter(None, [BANK, ours.get("PYTHONPATH", "")])),
            "FILLCAST_ENV_FILE": os.devnull,
            "FILLCAST_VAR": str(folder),
            "FILLCAST_LISTEN": str(port),
            "FILLCAST_SECRET_KEY": SECRET_KEY,
            VARIABLE: with_settings(
                "",
                {
                    "networks.outbound_networks": ["127.0.0.1/32"],  # what the tests receive
                    "users.sign_up": "open",
                },
            ),
        }
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "manage.py", "demo", "--speed", SPEED],
                cwd=ROOT, env=environ, stdout=output, stderr=output,
            )  # fmt: skip

    def wait(self) -> None:
        """Wait until the alerts of the scenario have been carried out."""
        end = time.monotonic() + START_SECONDS
        while READY not in self._log.read_text(errors="replace"):
            assert self._process.poll() is None, self._log.read_text()[-3000:]
            assert time.monotonic() < end, self._log.read_text()[-3000:]
            time.sleep(0.5)
        assert self._answers()

    def _answers(self) -> bool:
        try:
            with urlopen(f"{self.url}/readyz", timeout=10) as answer:
                return bool(answer.status == 200)
        except URLError:
            return False

    def stop(self) -> None:
        """Stop it as Ctrl-C does."""
        self._process.terminate()
        self._process.wait(60)
