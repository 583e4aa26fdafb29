"""“Try it” in the API reference: with a key, as a signed-in user, with faults, without scripts."""

import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, Request, expect

from tests.browser.acts import PASSWORD, expect_in_order, make_key, new_name
from tests.browser.database import DemoDatabase
from tests.browser.running_demo import RunningDemo
from tests.browser.visits import DARK, DESKTOP, PHONE, Device, Visit

DEVICES = pytest.mark.parametrize("device", [DESKTOP, PHONE, DARK], ids=lambda device: device.name)
SENDER = "#api-sender"
CLOSED_OWNER = "boris"


def open_form(page: Page, operation: str) -> Locator:
    """Open the form of an operation, unless it is open; return its part of the page."""
    part = page.locator(f"section#{operation}")
    if not part.locator("form").count():
        part.get_by_text("Try it", exact=True).click()
    return part


def send(part: Locator) -> Locator:
    """Send a request; return what states its answer."""
    part.get_by_role("button", name="Send").click()
    return part.locator("form [role=status]").first


def body_of(part: Locator) -> Any:
    """Return the body of the answer."""
    return json.loads(part.get_by_label("Body of the answer").inner_text())


class Sent:
    """The requests to the API that a page sends."""

    def __init__(self, page: Page) -> None:
        self.all: list[Request] = []
        page.on("request", lambda request: self.all.append(request))

    def to(self, path: str, method: str) -> list[Request]:
        """Return the requests to a path."""
        return [one for one in self.all if urlsplit(one.url).path == path and one.method == method]

    def with_text(self, text: str) -> list[str]:
        """Return the addresses of requests that have this text anywhere but in Authorization."""
        return [
            one.url
            for one in self.all
            if text in one.url
            or text in (one.post_data or "")
            or any(
                text in value for name, value in one.all_headers().items()
                if name != "authorization"
            )
        ]  # fmt: skip

    def signed(self) -> set[str]:
        """Return the origins to which an Authorization went."""
        return {
            urlsplit(one.url).netloc for one in self.all if "authorization" in one.all_headers()
        }


@DEVICES
def test_a_key_reads_and_creates(visit: Visit, device: Device, newcomer: str) -> None:
    page = visit.arrive(newcomer, PASSWORD)
    key = make_key(page, "to try")
    page.context.clear_cookies()
    sent = Sent(page)
    page.goto("/api/v1/docs/news-calendars/")
    assert not sent.to("/api/v1/me/", "GET")  # a page that is only read asks for nothing
    page.get_by_label("API key").fill(key)
    page.get_by_label("API key").blur()
    expect(page.locator(SENDER)).to_have_text(
        f"Requests are sent as {newcomer}, with this API key."
    )

    read = open_form(page, "list_news_calendars")
    read.get_by_text("Optional parameters").click()
    read.get_by_label("page_size").fill("2")
    curl = read.get_by_label("The same with curl")
    expect(curl).to_contain_text("/api/v1/news-calendars/?page_size=2")
    expect(curl).to_contain_text("Bearer $FILLCAST_KEY")
    read.get_by_label("page_size").press("Enter")  # reading: Enter is enough
    expect(read.locator("form [role=status]").first).to_contain_text("200 in")
    assert isinstance(body_of(read)["results"], list)
    expect(read.get_by_label("Headers of the answer")).to_contain_text("ETag")

    name = new_name()
    create = open_form(page, "create_news_calendar")
    expect(create.get_by_text("It is real, not a simulation")).to_be_visible()
    body, own_id = (
        create.get_by_role("textbox", name="Body"),
        create.get_by_label("Idempotency-Key"),
    )
    body.fill('{\n  "name": "x"\n  "note": "y"\n}')
    create.get_by_role("button", name="Send").click()
    expect(create.get_by_text("Line 3: a comma or } is missing here.")).to_be_visible()
    expect(body).to_be_focused()
    own_id.press("Enter")  # what creates needs the button
    assert not sent.to("/api/v1/news-calendars/", "POST")
    body.fill(json.dumps({"name": name}))
    expect(send(create)).to_contain_text("201 in")
    assert body_of(create)["name"] == name
    expect_in_order(visit, "try-it")

    expect(send(create)).to_contain_text("Nothing was done again")
    first_id = own_id.input_value()
    create.get_by_role("button", name="New id").click()
    expect(create.get_by_label("The same with curl")).not_to_contain_text(first_id)
    assert len(sent.to("/api/v1/news-calendars/", "POST")) == 2
    assert sent.with_text(key) == []
    assert sent.signed() == {urlsplit(page.url).netloc}


@DEVICES
@pytest.mark.parametrize("group", ["orders", "alerts"])
def test_all_forms_of_a_page_are_in_order(visit: Visit, device: Device, group: str) -> None:
    page = visit.page
    page.goto(f"/api/v1/docs/{group}/")
    for part in page.locator(".api-try > summary").all():
        part.click()
    expect(page.locator(SENDER)).to_contain_text("There is no key")
    page.locator("form > details > summary").first.click() if group != "alerts" else None
    expect_in_order(visit, f"try-it-{group}")


def test_key_stays_in_the_tab_until_it_is_forgotten(visit: Visit, newcomer: str) -> None:
    page = visit.arrive(newcomer, PASSWORD)
    key = make_key(page, "to keep")
    page.context.clear_cookies()
    page.goto("/api/v1/docs/me/")
    field, show = page.get_by_label("API key"), page.get_by_role("button", name="Show")
    expect(field).to_have_attribute("type", "password")
    field.fill(key)
    show.click()
    expect(field).to_have_attribute("type", "text")
    expect(show).to_have_attribute("aria-pressed", "true")
    page.goto("/api/v1/docs/orders/")
    expect(field).to_have_value(key)
    assert page.evaluate("Object.values(localStorage)") == []
    assert key not in page.evaluate("document.cookie")
    page.get_by_role("button", name="Forget it").click()
    expect(page.locator(SENDER)).to_contain_text("There is no key")
    page.reload()
    expect(field).to_have_value("")

    field.fill("fc_wrong")
    field.blur()
    expect(page.locator(SENDER)).to_have_text("This key is unknown, expired or revoked.")
    field.fill("fc wrong“")
    field.blur()
    expect(page.locator(SENDER)).to_contain_text("This is no API key")
    part = open_form(page, "list_orders")
    part.get_by_role("button", name="Send").click()
    expect(field).to_be_focused()  # it cannot be sent


def test_signed_in_user_needs_no_key(visit: Visit, newcomer: str) -> None:
    page = visit.arrive(newcomer, PASSWORD)
    page.goto("/api/v1/docs/me/")
    part = open_form(page, "update_me")
    expect(page.locator(SENDER)).to_contain_text(f"as {newcomer}, as the signed-in user")
    expect(part.locator(".api-sender")).to_contain_text(newcomer)
    read = open_form(page, "get_me")
    expect(send(read)).to_contain_text("200 in")
    known = page.locator("#api-etags option").first.get_attribute("value") or ""
    expect(read.get_by_label("Headers of the answer")).to_contain_text(known)

    part.get_by_role("textbox", name="Body").fill('{"time_zone": "Asia/Tokyo"}')
    part.get_by_label("If-Match").fill(known)  # it is offered
    expect(send(part)).to_contain_text("200 in")
    assert body_of(part)["time_zone"] == "Asia/Tokyo"
    expect(send(part)).to_contain_text("412 in")
    expect(part.locator("form [role=status]").first).to_contain_text(
        "It has changed since you read it"
    )


def test_what_is_missing_is_named_and_nothing_is_sent(visit: Visit) -> None:
    page = visit.page
    sent = Sent(page)
    page.goto("/api/v1/docs/orders/")
    part = open_form(page, "cancel_order")
    part.get_by_role("button", name="Send").click()
    expect(part.get_by_text("Fill in id.")).to_be_visible()
    id_field = part.locator("#cancel_order-path-id")
    expect(id_field).to_be_focused()
    id_field.fill("..")
    part.get_by_role("button", name="Send").click()
    expect(part.get_by_text("id cannot be “..”.")).to_be_visible()
    assert not [
        path for path in ("/api/v1/orders/cancel/", "/api/v1/cancel/") if sent.to(path, "POST")
    ]


def test_lost_connection_is_stated_in_plain_words(visit: Visit, newcomer: str) -> None:
    page = visit.arrive(newcomer, PASSWORD)
    page.goto("/api/v1/docs/feeds/")
    part = open_form(page, "create_feed")
    expect(page.locator(SENDER)).to_contain_text(newcomer)
    body = json.dumps({"name": new_name(), "is_public": False})
    part.get_by_role("textbox", name="Body").fill(body)
    page.route("**/api/v1/feeds/", lambda route: route.abort("connectionreset"))
    expect(send(part)).to_contain_text(
        "It may have been done. Send it again with the same Idempotency-Key"
    )
    page.unroute("**/api/v1/feeds/")
    page.context.set_offline(True)
    expect(send(part)).to_have_text("Nothing was sent: this browser is offline.")
    page.context.set_offline(False)
    expect(send(part)).to_contain_text("201 in")


def test_long_export_shows_its_beginning_and_a_download(
    visit: Visit, running_demo: RunningDemo
) -> None:
    DemoDatabase(running_demo.folder).copy_closed_trades(CLOSED_OWNER, 150)
    page = visit.arrive(CLOSED_OWNER)
    page.goto("/api/v1/docs/history/")
    part = open_form(page, "get_history")
    part.get_by_label("table").select_option("trades")
    part.get_by_text("Optional parameters").click()
    part.get_by_label("format").select_option("csv")
    expect(send(part)).to_contain_text("200 in")
    expect(part.get_by_text("These are the first 100 lines.")).to_be_visible()
    shown = part.get_by_label("Body of the answer").inner_text().splitlines()
    assert len(shown) == 100
    with page.expect_download() as waiting:
        part.get_by_role("button", name="Download the whole file").click()
    assert waiting.value.suggested_filename == "fillcast-trades.csv"
    whole = waiting.value.path().read_text("utf-8-sig").splitlines()
    assert len(whole) > 150
    assert whole[:100] == shown
    expect(part.get_by_text("Downloaded.")).to_be_visible()


def test_keyboard_alone_is_enough(visit: Visit, newcomer: str) -> None:
    page = visit.arrive(newcomer, PASSWORD)
    page.goto("/api/v1/docs/me/")
    page.locator("section#get_me .api-try > summary").focus()
    page.keyboard.press("Enter")
    expect(page.locator("section#get_me form")).to_be_visible()
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Send":
            break
    page.keyboard.press("Enter")
    part = page.locator("section#get_me")
    expect(part.locator("form [role=status]").first).to_contain_text("200 in")
    assert body_of(part)["username"] == newcomer


def test_without_scripts_the_reference_is_still_read(browser: Browser, demo: str) -> None:
    context = browser.new_context(base_url=demo, java_script_enabled=False)
    page = context.new_page()
    page.goto("/api/v1/docs/orders/")
    expect(page.get_by_label("API key")).to_be_hidden()
    part = page.locator("section#cancel_order")
    expect(part.get_by_text("POST /api/v1/orders/{id}/cancel/")).to_be_visible()
    part.get_by_text("Try it", exact=True).click()
    expect(part.get_by_text("Trying it needs JavaScript.")).to_be_visible()
    context.close()
