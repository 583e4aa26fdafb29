"""*Try it out* of the API reference: with a key, signed in, with faults, without scripts."""

import json
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, Request, Response, expect

from tests.browser.acts import PASSWORD, expect_in_order, make_key, new_name
from tests.browser.database import DemoDatabase
from tests.browser.running_demo import RunningDemo
from tests.browser.visits import DARK, DESKTOP, PHONE, Device, Visit

DEVICES = pytest.mark.parametrize("device", [DESKTOP, PHONE, DARK], ids=lambda device: device.name)
REFERENCE = "/api/v1/docs/"
LOADING_MS = 60_000
SENDER = "#api-sender"
ANSWER = "#api-answer"  # what a screen reader announces
CLOSED_OWNER = "boris"
UNDERSCORE = "escaping deep link whitespace"  # Swagger UI takes that of an operation's id for one


def open_reference(page: Page, place: str = "") -> None:
    """Open the page, and wait until Swagger UI has read the schema of two megabytes."""
    page.goto(f"{REFERENCE}{place}")
    page.locator("#operations").wait_for(timeout=LOADING_MS)


def open_form(page: Page, operation: str) -> Locator:
    """Find an operation, open its form, and return its part of the page."""
    page.get_by_label("Find operations").fill(operation)
    part = page.locator(f".opblock[id$='-{operation}']")
    if part.locator(".opblock-summary-control").get_attribute("aria-expanded") == "false":
        part.locator(".opblock-summary-control").click()
    part.get_by_role("button", name="Try it out").click()
    return part


def execute(part: Locator) -> None:
    part.get_by_role("button", name="Execute").click()


def send(part: Locator) -> Response:
    """Send a request; return its answer once the page shows it."""
    with part.page.expect_response(lambda one: "/api/v1/" in one.url) as waiting:
        execute(part)
    answer = waiting.value
    expect(shown(part).locator(".response-col_status")).to_contain_text(str(answer.status))
    return answer


def shown(part: Locator) -> Locator:
    """Return what shows the last answer."""
    return part.locator(".live-responses-table tr.response")


class Sent:
    """The requests to the API that a page sends."""

    def __init__(self, page: Page) -> None:
        self.all: list[Request] = []
        page.on("request", lambda request: self.all.append(request))

    def to(self, path: str, method: str) -> list[Request]:
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
    open_reference(page)
    page.get_by_label("API key").fill(key)
    page.get_by_label("API key").blur()
    expect(page.locator(SENDER)).to_have_text(
        f"Requests are sent as {newcomer}, with this API key."
    )

    read = open_form(page, "list_news_calendars")
    read.get_by_label("page_size").fill("2")
    answer = send(read)
    assert (answer.status, urlsplit(answer.url).query) == (200, "page_size=2")
    expect(page.locator(ANSWER)).to_have_text("The answer is 200.")
    expect(shown(read)).to_contain_text("etag: ")
    expect(read.locator(".curl")).to_contain_text("Bearer $FILLCAST_KEY")

    name = new_name()
    create = open_form(page, "create_news_calendar")
    expect(create.get_by_text("It is real, not a simulation")).to_be_visible()
    body = create.get_by_label("Body", exact=True)
    body.fill('{\n  "name": "x"\n  "note": "y"\n}')
    execute(create)
    expect(shown(create)).to_contain_text("Nothing was sent. Expected ',' or '}'")
    expect(shown(create)).to_contain_text("line 3")
    assert not sent.to("/api/v1/news-calendars/", "POST")
    typed = f'{{ "name":  "{name}" }}'
    body.fill(typed)
    answer = send(create)
    assert (answer.status, answer.json()["name"]) == (201, name)
    assert answer.request.post_data == typed  # not parsed and written again
    expect_in_order(visit, "try-it")

    expect(create.get_by_label("Idempotency-Key")).not_to_have_value("")
    with page.expect_response("**/news-calendars/"):
        execute(create)
    expect(shown(create)).to_contain_text("idempotency-replayed: true")
    assert len(sent.to("/api/v1/news-calendars/", "POST")) == 2
    assert sent.with_text(key) == []
    assert sent.signed() == {urlsplit(page.url).netloc}
    assert key not in page.locator("#reference").inner_html()


@DEVICES
@pytest.mark.parametrize("operation", ["list_orders", "send_alert", "create_connection"])
def test_forms_are_in_order(visit: Visit, device: Device, operation: str) -> None:
    page = visit.page
    open_reference(page)
    expect(page.locator(SENDER)).to_contain_text("There is no key")
    open_form(page, operation)
    expect_in_order(visit, f"try-it-{operation}")


def test_operations_are_found_and_have_addresses(visit: Visit) -> None:
    page = visit.page
    open_reference(page)
    find, found = page.get_by_label("Find operations"), page.locator(".opblock")
    find.fill("orders/cancel-all")
    expect(found).to_have_count(1)
    find.fill("no such thing")
    expect(found).to_have_count(0)
    page.goto("about:blank")
    open_reference(page, "#/orders/cancel_order")
    opened = page.locator("#operations-orders-cancel_order")
    expect(opened.get_by_text("409", exact=True)).to_be_visible()
    expect(opened.get_by_text("Scope of an API key: trade")).to_be_visible()
    visit.errors = [one for one in visit.errors if UNDERSCORE not in one]


def test_key_stays_in_the_tab_until_it_is_forgotten(visit: Visit, newcomer: str) -> None:
    page = visit.arrive(newcomer, PASSWORD)
    key = make_key(page, "to keep")
    page.context.clear_cookies()
    open_reference(page)
    field, show = page.get_by_label("API key"), page.get_by_role("button", name="Show")
    expect(field).to_have_attribute("type", "password")
    field.fill(key)
    show.click()
    expect(field).to_have_attribute("type", "text")
    expect(show).to_have_attribute("aria-pressed", "true")
    page.reload()
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
    execute(part)
    expect(shown(part)).to_contain_text("Nothing was sent. This is no API key")


def test_signed_in_user_needs_no_key(visit: Visit, newcomer: str) -> None:
    page = visit.arrive(newcomer, PASSWORD)
    open_reference(page)
    expect(page.locator(SENDER)).to_contain_text(f"as {newcomer}, as the signed-in user")
    known = send(open_form(page, "get_me")).headers["etag"]
    part = open_form(page, "update_me")
    part.get_by_label("Body", exact=True).fill('{"time_zone": "Asia/Tokyo"}')
    part.get_by_label("If-Match").fill(known)
    answer = send(part)
    assert (answer.status, answer.json()["time_zone"]) == (200, "Asia/Tokyo")
    assert send(part).status == 412
    expect(shown(part)).to_contain_text("OBJECT_CHANGED")


def test_what_is_missing_is_marked_and_nothing_is_sent(visit: Visit) -> None:
    page = visit.page
    sent = Sent(page)
    open_reference(page)
    part = open_form(page, "cancel_order")
    execute(part)
    id_field = part.get_by_label("id", exact=True)
    expect(id_field).to_have_class("invalid")
    id_field.fill("..")
    execute(part)
    expect(part).to_contain_text("For 'id': Value must follow pattern")
    part = open_form(page, "get_feed_record_head")
    part.get_by_label("slug", exact=True).fill("..")
    execute(part)
    expect(shown(part)).to_contain_text("No part of the path can be “.” or “..”.")
    assert not [one for one in sent.all if one.method == "POST"]
    assert not sent.to("/api/v1/record/head/", "GET")


def test_lost_connection_is_stated_in_plain_words(visit: Visit, newcomer: str) -> None:
    page = visit.arrive(newcomer, PASSWORD)
    open_reference(page)
    part = open_form(page, "create_feed")
    body = json.dumps({"name": new_name(), "is_public": False})
    part.get_by_label("Body", exact=True).fill(body)
    page.route("**/api/v1/feeds/", lambda route: route.abort("connectionreset"))
    execute(part)
    expect(shown(part)).to_contain_text(
        "It may have been done. Send it again with the same Idempotency-Key"
    )
    page.unroute("**/api/v1/feeds/")
    page.context.set_offline(True)
    execute(part)
    expect(shown(part)).to_contain_text("Nothing was sent. This browser is offline.")
    page.context.set_offline(False)
    assert send(part).status == 201


def test_long_export_is_a_file_to_download(visit: Visit, running_demo: RunningDemo) -> None:
    DemoDatabase(running_demo.folder).copy_closed_trades(CLOSED_OWNER, 150)
    page = visit.arrive(CLOSED_OWNER)
    open_reference(page)
    part = open_form(page, "get_history")
    part.get_by_label("table", exact=True).select_option("trades")
    part.get_by_label("format", exact=True).select_option("csv")
    assert send(part).status == 200
    with page.expect_download() as waiting:
        shown(part).get_by_role("link", name="Download file").click()
    assert waiting.value.suggested_filename == "fillcast-trades.csv"
    assert len(waiting.value.path().read_text("utf-8-sig").splitlines()) > 150


def test_keyboard_alone_is_enough(visit: Visit, newcomer: str) -> None:
    page = visit.arrive(newcomer, PASSWORD)
    open_reference(page)
    page.get_by_label("Find operations").focus()
    page.keyboard.type("get_me")
    part = page.locator(".opblock[id$='-get_me']")
    expect(part).to_be_visible()
    for name in ("/api/v1/me/", "Try it out", "Execute"):
        expect(part.get_by_text(name).first).to_be_visible()  # it is drawn after the key
        for _ in range(15):
            page.keyboard.press("Tab")
            text = page.evaluate("document.activeElement.textContent.replaceAll('\u200b', '')")
            if name in text:
                break
        else:
            raise AssertionError(f"15 times Tab reached no {name!r}")
        page.keyboard.press("Enter")
    expect(shown(part)).to_contain_text(f'"username": "{newcomer}"')


def test_without_scripts_the_operations_are_still_read(browser: Browser, demo: str) -> None:
    context = browser.new_context(base_url=demo, java_script_enabled=False)
    page = context.new_page()
    page.goto(REFERENCE)
    expect(page.get_by_label("API key")).to_be_hidden()
    listed = page.locator("noscript").inner_text()
    assert "POST /api/v1/orders/{id}/cancel/" in listed
    assert "need JavaScript." in listed
    page.get_by_role("link", name="schema", exact=True).click()
    assert '"openapi"' in page.content()
    context.close()
