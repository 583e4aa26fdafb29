"""What persons do on any page: follow a link, press a button, read their mail, become a user."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from playwright.sync_api import APIRequestContext, Browser, Locator, Page, expect

from tests.browser.visits import DESKTOP, Device, Visit, send_form

PASSWORD = "a-new-user-of-the-demo-7"  # of a demo on 127.0.0.1
WORKER_MS = 180_000  # what a worker does: a test, a mail, an archive
MAIL_SECONDS = 180  # a busy machine sends it late


def follow(page: Page, name: str | re.Pattern[str], *, inside: str = "body") -> None:
    """Follow the first link with this name."""
    with page.expect_navigation():
        page.locator(inside).get_by_role("link", name=name).first.click()


def press(page: Page, name: str, *, inside: str = "#main, .fc-narrow") -> None:
    """Press the first button of this name, and wait for the page that answers."""
    with page.expect_navigation():
        page.locator(inside).get_by_role("button", name=name, exact=True).first.click()


def fill(page: Page, **values: str) -> None:
    """Fill fields by their names."""
    for name, value in values.items():
        page.locator(f"[name={name}]:visible").fill(value)


def confirm(page: Page) -> None:
    """Press the button of a page that asks for a confirmation."""
    with page.expect_navigation():
        page.locator("#confirm-button").click()


def go_to_account(page: Page) -> None:
    """Open the page of the first account."""
    page.goto("/accounts/")
    follow(page, re.compile(""), inside="tbody th")


def expect_after_reloads(page: Page, what: Locator) -> None:
    """Reload the page until it shows this, for what a worker does meanwhile."""
    end = time.monotonic() + WORKER_MS / 1000
    while not what.count():
        assert time.monotonic() < end, f"{page.url} never showed {what}"
        page.wait_for_timeout(1000)
        page.reload()


def expect_heading(page: Page, text: str | re.Pattern[str]) -> None:
    """Expect this in the main heading."""
    expect(page.get_by_role("heading", level=1)).to_contain_text(text)


def expect_in_order(visit: Visit, name: str) -> None:
    """Keep a picture, and expect a page without problems."""
    visit.screenshot(name)
    if visit.device == DESKTOP:
        visit.screenshot(name, colours="dark")
    problems = visit.problems()
    assert not problems, (name, problems)


@contextmanager
def downloaded(page: Page, name: str | re.Pattern[str]) -> Iterator[bytearray]:
    """Follow a link to a file; the content is in the yielded bytes after the block."""
    content = bytearray()
    with page.expect_download() as waiting:
        page.get_by_role("link", name=name).first.click()
    content += Path(waiting.value.path()).read_bytes()
    yield content


class Inbox:
    """The mails that the demo sent: without a mail server, its workers print them in their logs."""

    def __init__(self, folder: Path) -> None:
        self._logs = folder / "log"

    def link_to(self, address: str, path: str, *, nth: int = 1) -> str:
        """Return the path of the link in the nth mail to this address; wait for it."""
        pattern = re.compile(
            rf"To: {re.escape(address)}\n.*?https?://[^/\s]+({path}\S*)", re.DOTALL
        )
        end = time.monotonic() + MAIL_SECONDS
        while True:
            text = "".join(log.read_text(errors="replace") for log in self._logs.glob("*.log"))
            if len(found := pattern.findall(text)) >= nth:
                return str(found[nth - 1])
            assert time.monotonic() < end, f"no mail with {path} to {address}"
            time.sleep(0.2)

    def count(self, address: str) -> int:
        """Return how many mails have been sent to this address."""
        texts = (log.read_text(errors="replace") for log in self._logs.glob("*.log"))
        return sum(text.count(f"To: {address}\n") for text in texts)


def new_name() -> str:
    """Return a user name that no one has."""
    return f"newcomer-{uuid4().hex[:8]}"


def sign_up(visit: Visit, inbox: Inbox, name: str, *, looks: bool = False) -> Page:
    """Sign up from the sign-in page: address, mail, name and password. looks: at the last page."""
    page, address = visit.page, f"{name}@example.com"
    page.goto("/login/")
    follow(page, re.compile("Create an account|Sign up"))
    fill(page, email=address)
    press(page, "Send me the link")
    expect_heading(page, "Look at your mail")
    page.goto(inbox.link_to(address, "/sign-up/"))
    if looks:
        expect_in_order(visit, "new-login")
    fill(page, username=name, password1=PASSWORD, password2=PASSWORD)
    press(page, "Create my login")
    expect(page.get_by_text(f"Welcome, {name}.")).to_be_visible()
    return page


def add_user(requests: APIRequestContext) -> str:
    """Add a tenant by the form of the operators' console; return the user name."""
    name = new_name()
    answer = send_form(
        requests, "/admin/users/user/add/", username=name, password1=PASSWORD, password2=PASSWORD,
        usable_password="true",
    )  # fmt: skip
    assert "/change/" in answer.url, answer.url
    return name


def invite(requests: APIRequestContext, note: str) -> str:
    """Invite a person as an operator; return the path of the link that is shown once."""
    answer = send_form(requests, "/admin/users/invitation/create/", note=note, days="3")
    found = re.search(r"/invitation/[\w-]{32}/", answer.text())
    assert found is not None, answer.url
    return found[0]


def reset_second_factor(requests: APIRequestContext, name: str) -> None:
    """Reset a user's second factor as an operator."""
    listed = requests.get(f"/admin/users/user/?q={name}").text()
    found = re.search(r"/admin/users/user/(\d+)/change/", listed)
    assert found is not None, name
    send_form(requests, f"/admin/users/user/{found[1]}/reset-second-factor/")


def open_paper_account(page: Page) -> None:
    """Open a paper account by its form, and see its test pass."""
    page.goto(
        send_form(page.context.request, "/accounts/paper/", start="USD 10000", key=uuid4().hex).url
    )
    checks = page.locator("#checks")
    expect(checks).not_to_have_attribute("aria-busy", "true", timeout=WORKER_MS)
    expect(checks.get_by_text("accepted")).to_be_visible(timeout=WORKER_MS)


def make_key(page: Page, name: str) -> str:
    """Make an API key with every scope by the form; return the key."""
    page.goto("/keys/")
    follow(page, "New API key")
    fill(page, name=name)
    for box in page.locator("[name=scopes]").all():
        box.check()
    press(page, "Create the key")
    return page.locator(".fc-key").inner_text()


@contextmanager
def another_browser(browser: Browser, url: str, device: Device) -> Iterator[Visit]:
    """A second browser, without the first one's cookies."""
    context = browser.new_context(base_url=url, **device.options)
    context.set_default_timeout(30_000)
    try:
        yield Visit(context.new_page(), device)
    finally:
        context.close()
