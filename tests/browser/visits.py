"""What a person does in a browser: sign in, look at pages, and see whether they are in order."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from axe_playwright_python.sync_playwright import Axe
from django.urls import Resolver404, resolve
from playwright.sync_api import Error, Page

from demo.accounts import PASSWORD

SCREENSHOTS = Path(__file__).parents[2] / "var" / "screenshots"
TENANT, OPERATOR = "anna", "operator"
_AXE = Axe()


@dataclass(frozen=True)
class Device:
    """A screen: its name, and the options of its browser context."""

    name: str
    options: dict[str, Any] = field(hash=False)


DESKTOP = Device("desktop", {"viewport": {"width": 1280, "height": 900}})
DARK = Device("dark", {**DESKTOP.options, "color_scheme": "dark"})
PHONE = Device(
    "phone", {"viewport": {"width": 360, "height": 780}, "has_touch": True, "is_mobile": True}
)
DEVICES = (DESKTOP, DARK, PHONE)


class Visit:
    """One person with one browser. `errors`: what no page may do."""

    def __init__(self, page: Page, device: Device) -> None:
        self.page, self.device = page, device
        self.errors: list[str] = []
        page.on("console", self._on_message)
        page.on("pageerror", lambda error: self.errors.append(f"{page.url}: {error}"))
        page.on("response", self._on_response)

    def _on_message(self, message: Any) -> None:
        # A refused answer (404, 422) is a message too, and is what some tests ask for.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.errors.append(f"{self.page.url}: {message.text}")

    def _on_response(self, response: Any) -> None:
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
        """Return what is wrong with the page that is shown: accessibility, and width."""
        found = [
            f"{rule['id']}: {node['html'][:160]}"
            for rule in _AXE.run(self.page).response["violations"]
            for node in rule["nodes"]
        ]
        width = self.page.evaluate("document.documentElement.scrollWidth")
        shown = self.device.options["viewport"]["width"]
        return found + ([f"{width} px wide on a screen of {shown}"] if width > shown else [])

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

    def screenshot(self, name: str) -> None:
        """Keep a picture in var/screenshots."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}-{self.device.name}.png", full_page=True)


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
