"""A browser in front of a running demo: `make test-browser`.

The demo is the whole product with its own servers, workers and recorded prices, started once. Each
test gets a browser without cookies. A message of the console (a script that the content security
policy refused, for example) and an answer of 500 fail it.
"""

import shutil
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import APIRequestContext, Browser, Page, expect, sync_playwright

from tests.browser import looked_at
from tests.browser.acts import PASSWORD, Inbox, add_user, open_paper_account
from tests.browser.database import DemoDatabase
from tests.browser.running_demo import RunningDemo, shared_demo
from tests.browser.visits import DESKTOP, OPERATOR, Device, KeptSessions, Visit

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
HERE = Path(__file__).parent
TEST_SECONDS = 900  # with what a test waits for the turn of others
MOST_MS = 30_000  # for a page and for what a page shows: two cores carry the demo and two browsers
expect.set_options(timeout=MOST_MS / 2)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything here, so that `make test` leaves it to `make test-browser`."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.timeout(TEST_SECONDS))
            if CHROMIUM is None:
                item.add_marker(pytest.mark.skip(reason="needs Debian's package chromium"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Hold a test to the pages that it declares to look at."""
    looked_at.LOOKED_AT.clear()
    yield
    missing = looked_at.declared_by(item.iter_markers()) - looked_at.LOOKED_AT
    assert not missing, f"declared, but not looked at: {sorted(missing)}"


@pytest.fixture(scope="session")
def running_demo() -> Iterator[RunningDemo]:
    """A demo whose scenario is over, for all processes of the run."""
    with shared_demo() as running:
        yield running


@pytest.fixture(autouse=True)
def turn(request: pytest.FixtureRequest, running_demo: RunningDemo) -> Iterator[None]:
    """Let a test with the marker `alone` wait for the others, and the others for it."""
    is_alone = request.node.get_closest_marker("alone") is not None
    with running_demo.turn(alone=is_alone):
        yield


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


@pytest.fixture(scope="session")
def sessions(demo: str, browser: Browser) -> Iterator[KeptSessions]:
    """The sessions of users who need not sign in by hand, each begun once."""
    with KeptSessions(browser, demo) as sessions:
        yield sessions


@pytest.fixture
def visit(demo: str, browser: Browser, device: Device, sessions: KeptSessions) -> Iterator[Visit]:
    """Return a visit on the device, without cookies; it must end without errors."""
    context = browser.new_context(base_url=demo, **device.options)
    context.set_default_timeout(MOST_MS)
    visit = Visit(context.new_page(), device, sessions)
    yield visit
    context.close()
    assert not visit.errors, visit.errors


@pytest.fixture
def page(visit: Visit) -> Page:
    return visit.page


@pytest.fixture
def newcomer(sessions: KeptSessions) -> str:
    """Add a user as the operator does; return the user name. Quicker than a sign-up with a mail."""
    return add_user(sessions.requests_of(OPERATOR))


@pytest.fixture
def trader(visit: Visit, newcomer: str) -> str:
    """Sign in a newcomer who has opened a paper account; return the user name."""
    open_paper_account(visit.arrive(newcomer, PASSWORD))
    return newcomer


@pytest.fixture(scope="session")
def database(running_demo: RunningDemo) -> DemoDatabase:
    return DemoDatabase(running_demo.folder)


@pytest.fixture(scope="session")
def operators(sessions: KeptSessions) -> APIRequestContext:
    """Return what sends the forms of the operators' console."""
    return sessions.requests_of(OPERATOR)
