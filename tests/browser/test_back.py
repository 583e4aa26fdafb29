"""Back from a page that shows what would be done: no question, nothing sent, what was typed stays.

A browser that is asked to go back to the answer of a POST would ask to send the form again; here
`go_back` then raises ERR_CACHE_MISS.
"""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.acts import PASSWORD, expect_heading, expect_in_order, fill, follow, press
from tests.browser.devices import EACH_DEVICE
from tests.browser.trading import create_private_feed, mid_price, with_position
from tests.browser.visits import Device, Visit


@pytest.fixture
def posts(visit: Visit) -> list[str]:
    """The addresses that forms were sent to."""
    sent: list[str] = []
    visit.page.on("request", lambda one: sent.append(one.url) if one.method == "POST" else None)
    return sent


def back(page: Page, to: str) -> None:
    """Go back, and expect a page with this in its heading."""
    page.go_back()
    expect_heading(page, to)


@EACH_DEVICE
def test_preview_of_a_position_is_left_and_met_again(
    visit: Visit, device: Device, trader: str, posts: list[str]
) -> None:
    page = visit.page
    with_position(page, trader)
    price = mid_price(page)
    page.goto("/positions/")
    with page.expect_navigation():
        page.locator("#live tbody th a").first.click()
    follow(page, "Move stop or target…")
    posts.clear()
    fill(page, stop_loss="abc")
    press(page, "Show what will be sent")
    expect(page.locator("[role=alert]")).to_be_visible()
    stop = f"{price - 0.0077:.4f}1"
    fill(page, stop_loss=stop, take_profit="")
    press(page, "Show what will be sent")
    expect(page.locator("#live")).to_contain_text(stop)
    expect_in_order(visit, "position-preview")
    page.reload()
    expect(page.locator("#live")).to_contain_text(stop)
    back(page, "Move stop or target")
    expect(page.locator("[name=stop_loss]")).to_have_value(stop)
    expect(page.locator("[name=take_profit]")).to_have_value("")
    expect(page.locator("[role=alert]")).to_have_count(0)  # what was wrong before is no more
    expect_in_order(visit, "position-preview-back")
    page.go_forward()
    expect(page.locator("#live")).to_contain_text(stop)
    assert posts == []
    press(page, "Move it")
    expect(page.get_by_text("The stop is")).to_be_visible()
    assert len(posts) == 1
    back(page, "Move stop or target")  # what it shows then has been done
    expect(page.locator("[role=alert]")).to_contain_text("there is nothing to change")
    assert len(posts) == 1


@EACH_DEVICE
def test_choice_of_what_to_close_stays(visit: Visit, device: Device, trader: str) -> None:
    page = visit.page
    with_position(page, trader)
    page.goto("/positions/cancel-or-close/")
    page.get_by_label("What to do").select_option("CLOSE")
    press(page, "Show what it touches")
    expect(page.get_by_role("button", name="Close them")).to_be_visible()
    page.get_by_label("What to do").select_option("BOTH")
    press(page, "Close them")  # what it shows is something else: it is shown first
    expect(page.get_by_role("button", name="Cancel and close them")).to_be_visible()
    page.reload()
    expect(page.get_by_role("button", name="Cancel and close them")).to_be_visible()
    back(page, "Cancel or close")
    expect(page.get_by_label("What to do")).to_have_value("BOTH")
    back(page, "Cancel or close")
    expect(page.get_by_label("What to do")).to_have_value("CLOSE")


@EACH_DEVICE
def test_review_of_a_preset_is_left_and_met_again(
    visit: Visit, device: Device, trader: str, posts: list[str]
) -> None:
    page, risk = visit.page, visit.page.get_by_label("Risk of a trade, % of equity", exact=True)
    page.goto("/presets/")
    follow(page, "Copy Standard 1 %")
    fill(page, name="Mine")
    press(page, "Create it")
    press(page, "Use it")
    page.goto("/presets/")
    follow(page, "Change Mine")
    risk.fill("0.5")
    page.get_by_text("Limits per trade", exact=True).click()
    page.get_by_label(re.compile("^Largest quantity")).fill("7000")
    press(page, "Continue")
    expect_heading(page, "Save Mine?")
    back(page, "Change Mine")
    expect(risk).to_have_value("0.5")
    expect(page.get_by_label(re.compile("^Largest quantity"))).to_have_value("7000")
    expect(page.get_by_label(re.compile("^Largest quantity"))).to_be_visible()
    expect(page.locator("#example")).to_contain_text("16,000 EUR, maximum 7,000 EUR")
    page.go_forward()  # its address is the form’s, which holds what was typed
    expect(risk).to_have_value("0.5")
    press(page, "Continue")
    press(page, "Change it further")
    risk.fill("0.7")
    press(page, "Continue")
    expect_heading(page, "Save Mine?")
    back(page, "Change Mine")
    expect(risk).to_have_value("0.7")
    press(page, "Continue")
    press(page, "Save")
    expect(page.get_by_text("Mine was saved")).to_be_visible()
    count = len([one for one in posts if "/edit/" in one])
    back(page, "Change Mine")
    assert len([one for one in posts if "/edit/" in one]) == count


@EACH_DEVICE
def test_signal_is_one_draft_however_often_one_goes_back(
    visit: Visit, device: Device, newcomer: str
) -> None:
    page = visit.arrive(newcomer, PASSWORD)
    slug = create_private_feed(page, f"Back {newcomer}")
    page.goto(f"/publishing/{slug}/signals/new/open/")
    fill(page, symbol="EURUSD", sl="1.3700")
    press(page, "Show what it reaches")
    expect(page.locator("#live")).to_be_visible()
    page.go_back()
    expect(page.locator("[name=symbol]")).to_have_value("EURUSD")
    expect(page.locator("[name=sl]")).to_have_value("1.3700")
    fill(page, sl="1.3650")
    press(page, "Show what it reaches")
    page.goto(f"/publishing/{slug}/drafts/")
    expect(page.locator("tbody tr")).to_have_count(1)
    follow(page, "Edit")
    expect(page.locator("[name=sl]")).to_have_value("1.3650")


@EACH_DEVICE
def test_what_a_setting_withdraws_and_a_text_that_was_read_are_left_without_a_question(
    visit: Visit, device: Device, newcomer: str
) -> None:
    page = visit.arrive(newcomer, PASSWORD)
    slug = create_private_feed(page, f"Left {newcomer}")
    page.goto(f"/publishing/{slug}/settings/")
    page.get_by_label("Public").check()
    fill(page, description="For everybody.")
    press(page, "Save")
    expect(page.get_by_role("button", name="Save, and withdraw")).to_be_visible()
    follow(page, "Alerts", inside=".fc-filters")
    fill(page, text="BUY EURUSD now SL 1.3700")
    press(page, "Read it")
    expect(page.locator("#result")).to_be_visible()
    follow(page, "Your own words and fields…")
    page.go_back()
    expect(page.locator("[name=text]")).to_have_value("BUY EURUSD now SL 1.3700")
    while "/settings/" not in page.url:
        page.go_back()
    expect(page.locator("[name=description]")).to_have_value("For everybody.")
    expect(page.get_by_label("Public")).to_be_checked()
    page.goto(f"/publishing/{slug}/")
    follow(page, "Settings", inside=".fc-filters")  # by a link: as it is stored
    expect(page.get_by_label("Public")).not_to_be_checked()


def test_secrets_are_not_kept(visit: Visit, newcomer: str) -> None:
    page = visit.arrive(newcomer, PASSWORD)
    page.goto("/password/")
    for field in page.locator("#main input[type=password]").all():
        field.fill("what no one may read 9")
    page.locator("#main button[type=submit]").first.click()
    page.wait_for_load_state()
    assert "no one may read" not in page.evaluate("JSON.stringify(history.state) ?? ''")
