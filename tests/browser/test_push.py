"""“Notify this browser” in a real browser, up to what needs no server of Google or Mozilla.

Real: the page, the permission, the service worker, the worker that sends, the encryption, and how
the service worker shows a message. Replaced by a script: only the browser's `PushManager`, which
would call its maker's push service; the subscription that it returns has real keys, and its push
service (tests/fakes/push_service) checks and decrypts what arrives. A click on a notification
cannot be made without a desktop: the event is dispatched in the service worker.
"""

import json
import re
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.acts import PASSWORD
from tests.browser.visits import DESKTOP, PHONE, Device, Visit
from tests.fakes.push_service.service import BrowserSubscription, PushService, push_service

DELIVERED_S = 30
PUSH_MANAGER = """
(() => {
  const given = %s;
  const bytes = (text) => Uint8Array.from(
    atob(text.replaceAll("-", "+").replaceAll("_", "/")), (one) => one.charCodeAt(0)).buffer;
  const made = () => ({
    endpoint: given.endpoint, options: { applicationServerKey: bytes(given.key) },
    toJSON: () => given, unsubscribe: async () => { localStorage.removeItem("made"); return true; },
  });
  PushManager.prototype.getSubscription = async () => localStorage.getItem("made") ? made() : null;
  PushManager.prototype.subscribe = async (options) => {
    if (!options.userVisibleOnly) throw new DOMException("", "NotAllowedError");
    localStorage.setItem("made", options.applicationServerKey);
    return made();
  };
})();
"""
REFUSED = "This browser refuses notifications of this site."


@pytest.fixture
def service() -> Iterator[PushService]:
    with push_service() as running:
        yield running
        assert running.faults == []


def allow(visit: Visit, demo: str) -> BrowserContext:
    context = visit.page.context
    context.grant_permissions(["notifications"], origin=demo)
    return context


def with_push_service(page: Page, service: PushService) -> BrowserSubscription:
    """Let the browser subscribe at our push service, for the key that the page offers."""
    page.goto("/inbox/")
    key = page.locator("[data-push]").get_attribute("data-key")
    assert key
    browser = service.subscribe(key)
    page.add_init_script(PUSH_MANAGER % json.dumps({**browser.as_json(), "key": key}))
    page.reload()
    return browser


def received(service: PushService, count: int) -> None:
    end = time.monotonic() + DELIVERED_S
    while len(service.journal) < count:
        assert time.monotonic() < end, (service.requests, service.faults)
        time.sleep(0.2)


@pytest.mark.parametrize("device", [DESKTOP, PHONE], ids=lambda device: device.name)
def test_browser_is_notified_after_one_click(
    visit: Visit, demo: str, newcomer: str, device: Device, service: PushService
) -> None:
    context = allow(visit, demo)
    page = visit.arrive(newcomer, PASSWORD)  # no messages of positions come between
    with_push_service(page, service)
    visit.screenshot("push-offered")
    assert not visit.problems()
    with page.expect_navigation(url=re.compile(r"/channels/\d+/$")):
        page.get_by_role("button", name="Notify this browser").click()
    channel = page.url
    expect(page.get_by_role("heading", level=1)).to_contain_text("on")
    page.get_by_role("button", name="Send a test message").click()
    received(service, 1)
    message = service.journal[0].message
    assert message["title"] == "Fillcast can reach you here"
    expect(page.get_by_text("The test message was accepted")).to_be_visible(timeout=30_000)
    visit.screenshot("push-channel")
    assert not visit.problems()

    shown = shown_by_worker(context, page, message)
    assert shown == [["Fillcast can reach you here", message["tag"], "/channels/"]]
    assert clicked(context) == f"{demo}/channels/"

    page.goto("/inbox/")
    expect(page.get_by_text("This browser shows your notifications.")).to_be_visible()
    expect(page.get_by_role("button", name="Notify this browser")).to_be_hidden()
    visit.screenshot("push-on")
    assert not visit.problems()

    page.goto(f"{channel}remove/")
    with page.expect_navigation():
        page.get_by_role("button", name="Remove it").click()
    page.goto("/inbox/")
    expect(page.get_by_role("button", name="Notify this browser")).to_be_visible()


def test_channel_is_renewed_when_the_key_was_replaced(
    visit: Visit, demo: str, service: PushService
) -> None:
    """As after a new key: the subscription that the browser has was made with another one."""
    allow(visit, demo)
    page = visit.arrive()
    with_push_service(page, service)
    with page.expect_navigation(url=re.compile(r"/channels/\d+/$")):
        page.get_by_role("button", name="Notify this browser").click()
    channel = page.url
    key = page.evaluate("localStorage.getItem('made')")
    again = service.subscribe(key)
    page.add_init_script(
        PUSH_MANAGER % json.dumps({**again.as_json(), "key": key})
    )  # the remembered subscription is known, the browser's present one is not
    page.goto("/inbox/")
    expect(page.get_by_text("This browser shows your notifications.")).to_be_visible()
    page.goto(channel)
    page.get_by_role("button", name="Send a test message").click()
    received(service, 1)
    assert service.journal[0].headers["topic"]
    page.goto(f"{channel}remove/")
    with page.expect_navigation():
        page.get_by_role("button", name="Remove it").click()


def test_refused_permission_is_explained(visit: Visit) -> None:
    page = visit.arrive()
    page.add_init_script(
        "Object.defineProperty(Notification, 'permission', {get: () => 'denied'});"
    )
    page.goto("/inbox/")
    expect(page.get_by_text(REFUSED)).to_be_visible()
    expect(page.get_by_text("A private window always refuses")).to_be_visible()
    expect(page.get_by_role("button", name="Notify this browser")).to_be_hidden()
    visit.screenshot("push-refused")
    assert not visit.problems()


def test_push_service_that_cannot_be_reached_is_explained(visit: Visit, demo: str) -> None:
    """The browser's own PushManager: without its maker's push service it fails."""
    allow(visit, demo)
    page = visit.arrive()
    page.goto("/inbox/")
    page.get_by_role("button", name="Notify this browser").click()
    expect(page.get_by_text("The browser could not subscribe")).to_be_visible(timeout=30_000)
    expect(page.get_by_role("button", name="Notify this browser")).to_be_enabled()
    # The browser writes why into its console, for private windows as tests have them.
    visit.errors[:] = [one for one in visit.errors if "Push API in incognito" not in one]


@pytest.mark.parametrize("device", [PHONE], ids=lambda device: device.name)
def test_iphone_is_sent_to_the_home_screen(visit: Visit, device: Device) -> None:
    page = visit.arrive()
    page.add_init_script(
        "delete window.PushManager; Object.defineProperty(navigator, 'userAgent',"
        " {get: () => 'Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X)'});"
    )
    page.goto("/inbox/")
    expect(page.get_by_text("Add to Home Screen")).to_be_visible()
    expect(page.get_by_role("button", name="Notify this browser")).to_be_hidden()
    visit.screenshot("push-iphone")
    assert not visit.problems()


def shown_by_worker(
    context: BrowserContext, page: Page, message: dict[str, object]
) -> list[list[str]]:
    """Deliver a decrypted message to the real service worker; return the notifications it shows."""
    session = context.new_cdp_session(page)
    registrations: list[str] = []
    session.on(
        "ServiceWorker.workerRegistrationUpdated",
        lambda found: registrations.extend(one["registrationId"] for one in found["registrations"]),
    )
    session.send("ServiceWorker.enable")
    page.wait_for_function("navigator.serviceWorker.ready.then(() => true)")
    assert registrations
    session.send(
        "ServiceWorker.deliverPushMessage",
        {
            "origin": page.evaluate("location.origin"),
            "registrationId": registrations[-1],
            "data": json.dumps(message),
        },
    )
    shown: list[list[str]] = page.evaluate(
        """async () => {
          const registration = await navigator.serviceWorker.ready;
          for (let i = 0; i < 100; i++) {
            const shown = await registration.getNotifications();
            if (shown.length) return shown.map((one) => [one.title, one.tag, one.data.page]);
            await new Promise((done) => setTimeout(done, 100));
          }
          return [];
        }"""
    )
    return shown


def clicked(context: BrowserContext) -> str:
    """Click the notification in the service worker; return the address that it would open."""
    opened: str = context.service_workers[0].evaluate(
        """async () => {
          let opened = "";
          Clients.prototype.matchAll = async () => [];
          Clients.prototype.openWindow = async (url) => { opened = url; return null; };
          const [notification] = await self.registration.getNotifications();
          self.dispatchEvent(new NotificationEvent("notificationclick", { notification }));
          await new Promise((done) => setTimeout(done, 200));
          return opened;
        }"""
    )
    return opened
