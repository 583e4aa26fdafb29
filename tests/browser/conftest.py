"""A browser in front of a running demo: `make test-browser`.

The demo is the whole product with its own servers, workers and recorded prices, started once. Each
test gets a browser without cookies. A message of the console (a script that the content security
policy refused, for example) and an answer of 500 fail it.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from ops.embedded.ports import free_port
from tests.browser.acts import (
    PASSWORD,
    Inbox,
    add_user,
    another_browser,
    open_paper_account,
)
from tests.browser.visits import DESKTOP, Device, Visit
from tests.prepared_database import copy_to
from tests.server_folders import server_folder

ROOT = Path(__file__).parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
READY = "Fillcast keeps running at"
START_SECONDS = 400
SPEED = "10"  # market seconds a second: the recorded quotes last for seven minutes after the start


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything here, so that `make test` leaves it to `make test-browser`."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.timeout(600))
            if CHROMIUM is None:
                item.add_marker(pytest.mark.skip(reason="needs Debian's package chromium"))


@dataclass(frozen=True)
class RunningDemo:
    """Where a demo answers, and the folder in which it keeps its logs."""

    url: str
    folder: Path


class Demo:
    """`manage.py demo` in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "demo.log"
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        ours = {name: value for name, value in os.environ.items() if "FILLCAST" not in name}
        for name in ("DATABASE_URL", "REDIS_URL"):
            ours.pop(name, None)
        environ = {
            **ours,
            "FILLCAST_ENV_FILE": os.devnull,
            "FILLCAST_VAR": str(folder),
            "FILLCAST_PORT": str(port),
            "FILLCAST_OUTBOUND_NETWORKS": "127.0.0.1/32",  # the push service of test_push.py
            "FILLCAST_SIGN_UP": "open",
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


@pytest.fixture(scope="session")
def running_demo() -> Iterator[RunningDemo]:
    """A demo whose scenario is over. TEST_BROWSER_URL and TEST_BROWSER_VAR: one that runs."""
    if running := os.environ.get("TEST_BROWSER_URL"):
        yield RunningDemo(running, Path(os.environ.get("TEST_BROWSER_VAR", ROOT / "var")))
        return
    with server_folder("fillcast-browser-") as folder:
        copy_to(folder / "postgres")
        demo = Demo(folder)
        try:
            demo.wait()
            yield RunningDemo(demo.url, folder)
        finally:
            demo.stop()


@pytest.fixture(scope="session")
def demo(running_demo: RunningDemo) -> str:
    """Return the demo's address."""
    return running_demo.url


@pytest.fixture(scope="session")
def inbox(running_demo: RunningDemo) -> Inbox:
    """Return what the demo's workers send by mail."""
    return Inbox(running_demo.folder)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@pytest.fixture
def device() -> Device:
    """The device of a test; parametrize it for others."""
    return DESKTOP


@pytest.fixture
def visit(demo: str, browser: Browser, device: Device) -> Iterator[Visit]:
    """Return a visit on the device, without cookies; it must end without errors."""
    context = browser.new_context(base_url=demo, **device.options)
    context.set_default_timeout(15_000)
    visit = Visit(context.new_page(), device)
    yield visit
    context.close()
    assert not visit.errors, visit.errors


@pytest.fixture
def page(visit: Visit) -> Page:
    return visit.page


@pytest.fixture
def newcomer(demo: str, browser: Browser) -> Iterator[str]:
    """Add a user as the operator does; return the user name. Quicker than a sign-up with a mail."""
    with another_browser(browser, demo, DESKTOP) as visit:
        yield add_user(visit)


@pytest.fixture
def trader(visit: Visit, newcomer: str) -> str:
    """Sign in a newcomer who has opened a paper account; return the user name."""
    open_paper_account(visit.sign_in(newcomer, PASSWORD))
    return newcomer
