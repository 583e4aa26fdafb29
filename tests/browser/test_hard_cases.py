"""What goes wrong for persons: taken addresses, two tabs, back, lost sessions, slow lines."""

import re
import time

import pytest
from playwright.sync_api import Page, expect

from tests.browser.acts import (
    PASSWORD,
    WORKER_MS,
    Inbox,
    expect_heading,
    expect_in_order,
    fill,
    follow,
    new_name,
    press,
    sign_up,
)
from tests.browser.database import DemoDatabase
from tests.browser.devices import EACH_DEVICE
from tests.browser.running_demo import RunningDemo
from tests.browser.trading import first_position, mid_price, open_trade, ready_to_trade, use_preset
from tests.browser.visits import Device, Visit

ARABIC = ("محمد بن عبد الله آل سعود " * 10)[:200].strip()
TRADES = 10_000
FAST_SECONDS = 2.0  # on a machine that the demo’s workers share
CLOSED_OWNER = "boris"


@EACH_DEVICE
def test_a_taken_address_is_not_revealed_and_a_link_works_once(
    visit: Visit, device: Device, inbox: Inbox
) -> None:
    name = new_name()
    address = f"{name}@example.com"
    page = sign_up(visit, inbox, name)
    link = inbox.link_to(address, "/sign-up/")
    page.context.clear_cookies()
    page.goto(link)
    expect_heading(page, "This link does not work")
    expect(page.get_by_text("This link was used: your login exists.")).to_be_visible()
    page.goto(link[:-4] + "abc/")  # a link that is too old or was mistyped
    expect(page.get_by_role("link", name="Get a new link")).to_be_visible()
    answers = []
    for one in (address, f"{new_name()}@example.com"):
        page.goto("/sign-up/")
        fill(page, email=one)
        press(page, "Send me the link")
        answers.append(page.locator(".fc-narrow").inner_text().replace(one, "…"))
    assert answers[0] == answers[1]
    expect_in_order(visit, "sign-up-sent")
    inbox.link_to(address, "/login/")  # the owner gets a mail about it


@EACH_DEVICE
def test_two_tabs_on_a_preset_the_second_save_explains(
    visit: Visit, device: Device, trader: str
) -> None:
    page = visit.page
    page.goto("/presets/")
    follow(page, "Copy Standard 1 %")
    fill(page, name="Mine")
    press(page, "Create it")
    press(page, "Use it")  # of a preset in use the next page says what changes
    page.goto("/presets/")
    follow(page, "Change Mine")
    second = page.context.new_page()
    second.goto(page.url)
    risk = "Risk of a trade, % of equity"
    for tab, value in ((page, "0.5"), (second, "2")):
        tab.get_by_label(risk, exact=True).fill(value)
        press(tab, "Continue")
        if tab is page:
            press(tab, "Save")
            expect(tab.get_by_text("Mine was saved")).to_be_visible()
    alarm = second.locator("[role=alert]").first
    expect(alarm).to_contain_text("Nothing was saved")
    expect(alarm).to_contain_text("changed")
    expect(second.get_by_label(risk, exact=True)).to_have_value("2")  # what was typed


@EACH_DEVICE
def test_two_tabs_on_a_position_the_second_one_explains(
    visit: Visit, device: Device, trader: str
) -> None:
    page = visit.page
    price = mid_price(page)
    open_trade(page, ready_to_trade(page, trader), sl=f"{price - 0.0111:.4f}")
    first_position(page)
    with page.expect_navigation():
        page.locator("#live tbody th a").first.click()
    follow(page, "Move stop or target…")
    second = page.context.new_page()
    second.goto(page.url)
    for tab, away in ((page, 0.0099), (second, 0.0077)):
        tab.locator("[name=stop_loss]").fill(f"{price - away:.4f}")
        press(tab, "Show what will be sent")
    press(page, "Move it")
    expect(page.get_by_text("They count now")).to_be_visible()
    press(second, "Move it")
    expect(second.locator("[role=alert]").first).to_contain_text("Since you were shown it")


@EACH_DEVICE
def test_back_after_a_post_does_nothing_twice(visit: Visit, device: Device, newcomer: str) -> None:
    page = visit.arrive(newcomer, PASSWORD)
    press(page, "Open a paper account with 10,000 USD")
    expect(page.get_by_text("is open and funded")).to_be_visible()
    page.go_back()
    again = page.get_by_role("button", name="Open a paper account with 10,000 USD")
    if again.count():  # the browser kept the page: the button sends the same request again
        again.click()
        page.wait_for_load_state()
    page.goto("/accounts/")
    expect(page.locator("tbody tr")).to_have_count(1)


@EACH_DEVICE
def test_nothing_typed_is_lost_when_the_session_ends(
    visit: Visit, device: Device, newcomer: str
) -> None:
    page = visit.arrive(newcomer, PASSWORD)
    page.goto("/publish/new/")
    name = f"Half written {device.name}"  # names give addresses, which are taken once
    fill(page, name=name, description="Two hours of work.")
    page.context.clear_cookies(name=re.compile("session"))
    press(page, "Create the feed")
    fill(page, username=newcomer, password=PASSWORD)
    press(page, "Sign in")
    expect(page.get_by_text("Your session had ended when you sent this form")).to_be_visible()
    expect(page.locator("[name=name]")).to_have_value(name)
    expect(page.locator("[name=description]")).to_have_value("Two hours of work.")
    expect_in_order(visit, "form-restored")
    press(page, "Create the feed")
    expect_heading(page, name)


@pytest.mark.alone
@EACH_DEVICE
def test_ten_thousand_trades_stay_fast_and_paged(
    visit: Visit, device: Device, running_demo: RunningDemo
) -> None:
    DemoDatabase(running_demo.folder).copy_closed_trades(CLOSED_OWNER, TRADES)
    page = visit.arrive(CLOSED_OWNER)
    for path in ("/positions/?state=closed", "/history/trades/", "/results/?period=all", "/"):
        begun = time.monotonic()
        page.goto(path, wait_until="load")
        took = time.monotonic() - begun
        assert took < FAST_SECONDS, f"{path} took {took:.1f} s"
        assert page.locator("tbody tr").count() < 300, path
    page.goto("/positions/?state=closed")
    expect(page.locator("#main")).to_contain_text(re.compile("10,0[0-9]{2}"))
    expect_in_order(visit, "ten-thousand-trades")
    page.goto("/history/trades/")
    newest = page.locator("tbody th").first.inner_text()
    follow(page, "Earlier", inside="#main footer")
    assert page.locator("tbody th").first.inner_text() != newest


@EACH_DEVICE
def test_an_account_in_yen_has_no_decimals(visit: Visit, device: Device, newcomer: str) -> None:
    page = visit.arrive(newcomer, PASSWORD)
    page.goto("/accounts/paper/")
    start = page.locator("[name=start]")
    yen = start.locator("option[value^=JPY]").first.get_attribute("value")
    start.select_option(yen)
    press(page, "Open it")
    checks = page.locator("#checks")
    expect(checks.get_by_text("accepted")).to_be_visible(timeout=WORKER_MS)
    page.goto("/accounts/")
    expect(page.locator("tbody")).to_contain_text("JPY", timeout=WORKER_MS)
    own = page.locator("tbody a[href^='/accounts/']").first.get_attribute("href")
    assert own
    for path in ("/accounts/", own, "/"):
        page.goto(path)
        _no_decimals(page)
    expect_in_order(visit, "yen")
    use_preset(page)
    page.goto("/presets/new/")
    example = page.locator("#example")
    expect(example).to_contain_text(re.compile(r"balance 100,000 JPY, equity\s+100,000\s"))
    expect(example).to_contain_text("NO_CONVERSION_RATE")  # the recorded market has no yen


def _no_decimals(page: Page) -> None:
    text = page.locator("#main").inner_text()
    assert not re.search(r"\d\.\d+\s*JPY", text), text


@EACH_DEVICE
def test_a_name_of_200_arabic_letters_breaks_no_page(
    visit: Visit, device: Device, newcomer: str
) -> None:
    page = visit.arrive(newcomer, PASSWORD)
    page.goto("/publish/new/")
    fill(page, name=ARABIC)
    page.get_by_label("Public").uncheck()
    press(page, "Create the feed")
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_have_text(ARABIC)
    assert heading.evaluate("e => getComputedStyle(e).direction") == "rtl"
    slug = page.url.rstrip("/").rpartition("/")[2]
    for path in (
        f"/publishing/{slug}/", "/publishing/", "/feeds/", f"/feeds/{slug}/",
        f"/feeds/{slug}/alerts/", f"/feeds/{slug}/alerts/log/", f"/feeds/{slug}/preflight/",
        f"/publishing/{slug}/settings/", f"/publishing/{slug}/signals/new/open/",
        f"/feeds/{slug}/proof/",
    ):  # fmt: skip
        page.goto(path)
        assert not visit.problems(), path
    page.goto("/profile/")
    page.get_by_label("Full name").fill(ARABIC)
    press(page, "Save")
    expect_in_order(visit, "arabic-profile")


WATCH = """() => new MutationObserver((all) => {
  const busy = document.querySelector('button.is-primary').getAttribute('aria-busy');
  const note = document.querySelector('.fc-sending');
  console.log('aria-busy=' + busy + ' ' + (note?.textContent ?? ''));
}).observe(document.querySelector('main'), {subtree: true, childList: true, attributes: true})"""
CLICK_TWICE = """() => {
  const button = document.querySelector('button.is-primary');
  button.click();
  button.click();
}"""


@EACH_DEVICE
def test_on_a_slow_line_a_double_click_sends_once(
    visit: Visit, device: Device, newcomer: str
) -> None:
    page = visit.arrive(newcomer, PASSWORD)
    page.goto("/publish/new/")
    fill(page, name=f"Slow {newcomer}")
    line = page.context.new_cdp_session(page)
    line.send("Network.enable")
    slow = {
        "offline": False,
        "latency": 3000,
        "downloadThroughput": 20000,
        "uploadThroughput": 20000,
    }
    line.send("Network.emulateNetworkConditions", slow)
    posts: list[str] = []
    page.on("request", lambda r: posts.append(r.url) if r.method == "POST" else None)
    page.evaluate(WATCH)
    with page.expect_console_message(lambda message: "aria-busy=true" in message.text):
        page.evaluate(CLICK_TWICE)
    page.wait_for_event("console", lambda message: "it is sent once" in message.text)
    expect_heading(page, f"Slow {newcomer}")
    assert len(posts) == 1
