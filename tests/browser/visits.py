"""What a person does in a browser: sign in, look at pages, and see whether they are in order."""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit
from uuid import UUID

from django.urls import Resolver404, resolve
from playwright.sync_api import (
    APIRequestContext,
    APIResponse,
    Browser,
    BrowserContext,
    Error,
    Page,
)

from demo.accounts import PASSWORD
from tests.browser import looked_at
from tests.browser.rules import Colours, broken_rules
from tests.browser.widths import too_wide

SCREENSHOTS = Path(__file__).parents[2] / "var" / "screenshots"
TENANT, OPERATOR = "anna", "operator"


@dataclass(frozen=True)
class Device:
    """A screen: its name, and the options of its browser context."""

    name: str
    options: dict[str, Any] = field(hash=False)

    @property
    def screen(self) -> str:
        """Whether it is a phone or a desktop, in whatever colours."""
        return "phone" if self.options.get("is_mobile") else "desktop"


DESKTOP = Device("desktop", {"viewport": {"width": 1280, "height": 900}})
DARK = Device("dark", {**DESKTOP.options, "color_scheme": "dark"})
PHONE = Device(
    "phone", {"viewport": {"width": 360, "height": 780}, "has_touch": True, "is_mobile": True}
)
DARK_PHONE = Device("phone-dark", {**PHONE.options, "color_scheme": "dark"})


class Visit:
    """One person with one browser. `errors`: what no page may do."""

    def __init__(self, page: Page, device: Device, sessions: "KeptSessions | None" = None) -> None:
        self.page, self.device, self._sessions = page, device, sessions
        self.errors: list[str] = []
        self._statuses: dict[str, int] = {}  # what pages were answered with, by address
        page.on("console", self._on_message)
        page.on("pageerror", lambda error: self.errors.append(f"{page.url}: {error}"))
        page.on("response", self._on_response)

    def _on_message(self, message: Any) -> None:
        # A refused answer (404, 422) is a message too, and is what some tests ask for.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.errors.append(f"{self.page.url}: {message.text}")

    def _on_response(self, response: Any) -> None:
        if response.request.is_navigation_request() and response.frame == self.page.main_frame:
            self._statuses[response.url] = response.status
        if response.status >= 500:
            self.errors.append(f"{response.url}: {response.status}")

    def sign_in(self, username: str = TENANT, password: str = PASSWORD) -> Page:
        """Sign in as a person does, and return the page."""
        self.page.goto("/login/")
        self.page.get_by_label("User name").fill(username)
        self.page.get_by_label("Password", exact=True).fill(password)
        with self.page.expect_navigation():
            self.page.get_by_role("button", name="Sign in").click()
        return self.page

    def arrive(self, username: str = TENANT, password: str = PASSWORD) -> Page:
        """Come with a session of an earlier sign-in, for tests of what needs one."""
        assert self._sessions is not None
        self.page.context.add_cookies(self._sessions.cookies_of(username, password))
        self.page.goto("/")
        return self.page

    def open(self, path: str) -> bool:
        """Open a page; return whether it is one (a file to download is none)."""
        try:
            answer = self.page.goto(path)
        except Error as error:
            if "Download is starting" in str(error) or "ERR_ABORTED" in str(error):
                return False
            raise
        assert answer is not None
        assert answer.status < 400, (path, answer.status)
        return "html" in answer.headers.get("content-type", "")

    def problems(self) -> list[str]:
        """Return what is wrong with the page: its width, and rules in light and dark colours."""
        address = self.page.url.partition("#")[0]
        looked_at.note(urlsplit(address).path, self._statuses.get(address, 0))
        return too_wide(self.page) + broken_rules(self.page)

    def links(self) -> list[str]:
        """Return the paths of the links of the page, without those that leave or act."""
        found = self.page.eval_on_selector_all("a[href]", "all => all.map(a => a.href)")
        mine = urlsplit(self.page.url).netloc
        return [
            urlsplit(href).path
            for href in found
            if urlsplit(href).netloc == mine
            and not urlsplit(href).path.startswith(("/api/", "/static/"))
        ]

    def screenshot(self, name: str, *, colours: Colours | None = None) -> None:
        """Keep a picture in var/screenshots. colours: others than the device's."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        if colours:
            self.page.emulate_media(color_scheme=colours)
        path = SCREENSHOTS / f"{name}-{colours or self.device.name}.png"
        self.page.screenshot(path=path, full_page=True)
        if colours:
            self.page.emulate_media(color_scheme=self.device.options.get("color_scheme", "light"))


class KeptSessions:
    """Sessions of users, each begun once; their requests are sent without showing a page."""

    def __init__(self, browser: Browser, url: str) -> None:
        self._browser, self._url = browser, url
        self._contexts: dict[str, BrowserContext] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for context in self._contexts.values():
            context.close()

    def requests_of(self, username: str, password: str = PASSWORD) -> APIRequestContext:
        """Return what sends requests as a user; it signs in when it is asked for first."""
        if username not in self._contexts:
            context = self._browser.new_context(base_url=self._url)
            answer = send_form(context.request, "/login/", username=username, password=password)
            assert "/login" not in answer.url, answer.url
            self._contexts[username] = context
        return self._contexts[username].request

    def cookies_of(self, username: str, password: str) -> list[Any]:
        """Return the cookies of a signed-in user."""
        self.requests_of(username, password)
        return list(self._contexts[username].cookies())


def send_form(requests: APIRequestContext, path: str, **fields: str) -> APIResponse:
    """Send the form of a page, with its token; return the page that answers."""
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', requests.get(path).text())
    assert token is not None, path
    answer = requests.post(path, form={"csrfmiddlewaretoken": token[1], **fields})
    assert answer.ok, (path, answer.status)
    return answer


def walk(visit: Visit, starts: Iterable[str]) -> Iterator[str]:
    """Open every page that links lead to, one of each kind: `/signals/7/` stands for all signals.

    A page that needs a certain state (a sign-up that is open) is looked at by its own test.
    """
    seen: set[str] = set()
    paths = list(starts)
    for path in paths:
        if (kind := _kind_of(path)) in seen:
            continue
        seen.add(kind)
        if visit.open(path):
            yield path
            paths += visit.links()


def check_all(visit: Visit, *starts: str) -> list[str]:
    """Look at every page that links lead to from these; return the paths. They are in order."""
    problems: list[str] = []
    paths = []
    for path in walk(visit, starts):
        paths.append(path)
        problems += [f"{path} {problem}" for problem in visit.problems()]
    assert not problems, "\n".join(problems)
    return paths


def _kind_of(path: str) -> str:
    """Return what is the same for all objects of a kind: of the portal, the name of the page."""
    if not path.startswith("/admin/"):
        with suppress(Resolver404):
            found = resolve(path)
            return f"{found.view_name} {found.kwargs.get('table') or found.kwargs.get('service')}"
    return "/".join("*" if _is_key(part) else part for part in path.split("/"))


def _is_key(part: str) -> bool:
    try:
        UUID(part)
    except ValueError:
        return part.isdigit() or part.startswith("vm-")
    return True
