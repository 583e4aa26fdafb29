"""A person without a mouse: sign up, sign in, subscribe, close and halt, with Tab and Enter."""

import pytest
from playwright.sync_api import Page, expect

from demo.accounts import PASSWORD
from tests.browser.acts import PASSWORD as NEW_PASSWORD
from tests.browser.acts import Inbox, new_name
from tests.browser.visits import DARK, DESKTOP, TENANT, Device, Visit

MOST_TABS = 150
LEAST_CONTRAST = 3  # of what shows the focus, as WCAG 1.4.11 asks
COLOURS = pytest.mark.parametrize("device", [DESKTOP, DARK], ids=lambda device: device.name)
FOCUSED = """() => {
  const e = document.activeElement, style = getComputedStyle(e);
  const name = e.getAttribute('aria-label') || e.labels?.[0]?.textContent || e.textContent || '';
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => parts(colour).slice(0, 3).map((part) => part / 255).map((part) =>
    part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4,
  ).reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0);
  let under = e.parentElement;
  while (under.parentElement && parts(getComputedStyle(under).backgroundColor)[3] === 0)
    under = under.parentElement;
  const [a, b] = [style.outlineColor, getComputedStyle(under).backgroundColor].map(light);
  const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  return [
    name.replace(/\\s+/g, ' ').trim(),
    style.outlineStyle !== 'none' ? contrast : style.boxShadow !== 'none' ? Infinity : 0,
  ];
}"""


def tab_to(page: Page, name: str, *, exact: bool = False) -> None:
    """Press Tab until the element with this name has the focus, and see that the focus is shown.

    The beginning of its name is enough, unless `exact`.
    """
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        reached, contrast = page.evaluate(FOCUSED)
        if reached == name or (reached.startswith(name) and not exact):
            assert contrast >= LEAST_CONTRAST, f"the focus on {name!r} cannot be seen: {contrast}"
            return
    raise AssertionError(f"{name!r} cannot be reached with Tab")


def press(page: Page, name: str, *, exact: bool = False) -> None:
    tab_to(page, name, exact=exact)
    with page.expect_navigation():
        page.keyboard.press("Enter")


def sign_in(page: Page) -> None:
    page.goto("/login/")
    tab_to(page, "User name")
    page.keyboard.type(TENANT)
    tab_to(page, "Password")
    page.keyboard.type(PASSWORD)
    with page.expect_navigation():
        page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_be_visible()


@COLOURS
def test_sign_up(visit: Visit, device: Device, inbox: Inbox) -> None:
    page, name = visit.page, new_name()
    page.goto("/login/")
    press(page, "Create an account")
    expect(page.get_by_label("E-mail address")).to_be_focused()
    page.keyboard.type(f"{name}@example.com")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    page.goto(inbox.link_to(f"{name}@example.com", "/sign-up/"))
    for label, text in (
        ("User name", name), ("Password", NEW_PASSWORD), ("Password, again", NEW_PASSWORD)
    ):  # fmt: skip
        tab_to(page, label)
        page.keyboard.type(text)
    press(page, "Create my login")
    expect(page.get_by_text(f"Welcome, {name}.")).to_be_visible()


ORDER = """() => {
  const main = document.querySelector('main'), places = [];
  const all = main.querySelectorAll('a[href], button, input, select, textarea, summary');
  for (const one of all) {
    const box = one.getBoundingClientRect();
    if (one.tabIndex > 0) return 'a positive tabindex: ' + one.outerHTML.slice(0, 100);
    if (box.width && one.checkVisibility()) places.push([box.top, box.left, one.outerHTML]);
  }
  for (let i = 1; i < places.length; i++)
    if (places[i][0] + 400 < places[i - 1][0] && places[i][1] <= places[i - 1][1])
      return places[i][2].slice(0, 100);
  return '';
}"""


@pytest.mark.parametrize(
    "path", ["/", "/positions/", "/orders/", "/feeds/", "/results/", "/presets/new/", "/pause/"]
)
def test_tab_goes_down_the_page(visit: Visit, path: str) -> None:
    visit.arrive().goto(path)
    assert visit.page.evaluate(ORDER) == "", "this comes too late in the order of Tab"


@COLOURS
def test_a_refused_form_leads_to_its_faults(visit: Visit, device: Device) -> None:
    page = visit.arrive()
    page.goto("/publish/new/")
    press(page, "Create the feed")  # without a name
    tab_to(page, "name")  # the link in the alarm
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.name") == "name" or page.url.endswith("#id_name")


@COLOURS
def test_skip_link_leads_to_the_content(visit: Visit, device: Device) -> None:
    page = visit.arrive()
    tab_to(page, "Skip to content")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


@COLOURS
def test_close_a_position(visit: Visit, device: Device) -> None:
    page = visit.page
    sign_in(page)
    press(page, "Positions")
    press(page, "Close…")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Close")
    press(page, "Close it")
    expect(page.get_by_text("is being closed")).to_be_visible()


@COLOURS
@pytest.mark.alone  # all see the halt of that tenant
def test_pause_and_resume_everything(visit: Visit, device: Device) -> None:
    page = visit.page
    sign_in(page)
    press(page, "Pause everything")
    press(page, "Pause 3 accounts")
    expect(page.get_by_role("region", name="You paused everything")).to_be_visible()
    expect(page.get_by_role("link", name="Pause everything…")).to_be_hidden()
    press(page, "Resume…")
    press(page, "Resume", exact=True)
    expect(page.get_by_role("link", name="Pause everything…")).to_be_visible()
    expect(page.get_by_role("region", name="You paused everything")).to_be_hidden()


@COLOURS
def test_unsubscribe_and_subscribe_again(visit: Visit, device: Device) -> None:
    page = visit.page
    sign_in(page)
    press(page, "Feeds")
    press(page, "Unsubscribe")
    press(page, "Unsubscribe")
    expect(page.get_by_text("is unsubscribed from")).to_be_visible()
    press(page, "Subscribe another")
    tab_to(page, "Account")
    press(page, "Subscribe")
    expect(page.get_by_text("from its next signal on")).to_be_visible()
