"""Item 3, before money moves: a preset by form, with an example in money and a review."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.acts import expect_heading, expect_in_order, fill, follow, press
from tests.browser.visits import DESKTOP, PHONE, Device, Visit

DEVICES = pytest.mark.parametrize("device", [DESKTOP, PHONE], ids=lambda device: device.name)


@DEVICES
def test_a_shared_preset_is_copied_and_its_size_is_shown_in_money(
    visit: Visit, device: Device, trader: str
) -> None:
    page = visit.page
    page.goto("/presets/")
    follow(page, "Copy Standard 1 %")
    fill(page, name="Mine")
    example = page.locator("#example")
    expect(example).to_contain_text("By 1 % of equity at risk and a stop of 30 pips: 0.33 lots")
    expect(example).to_contain_text("risk 99.00 USD")
    page.get_by_label("Risk of a trade, % of equity", exact=True).fill("0.5")
    expect(example).to_contain_text("By 0.5 % of equity at risk")
    expect_in_order(visit, "preset-copy")
    press(page, "Create it")
    press(page, "Use it")
    expect(page.get_by_text("uses Mine")).to_be_visible()

    # a limit that refuses the example is stated beside the form, with value and limit
    page.goto("/presets/")
    follow(page, "Change Mine")
    page.get_by_text("Limits per trade", exact=True).click()
    page.get_by_label(re.compile("^Largest quantity")).fill("1000")
    expect(example).to_contain_text("1,000", timeout=10_000)
    press(page, "Continue")
    expect_heading(page, "Save Mine?")
    expect(page.locator("#main")).to_contain_text("Paper USD")
    expect_in_order(visit, "preset-save")
    press(page, "Save")
    expect(page.get_by_text("Mine was saved")).to_be_visible()


@DEVICES
def test_all_faults_of_a_preset_are_shown_at_once(
    visit: Visit, device: Device, trader: str
) -> None:
    page = visit.page
    page.goto("/presets/new/")
    page.get_by_label("Risk of a trade, % of equity", exact=True).fill("-3")
    press(page, "Create it")
    alarm = page.locator("[role=alert]").first
    expect(alarm).to_contain_text("Nothing was saved")
    expect(alarm.get_by_role("link")).to_have_count(2)
    expect(page.get_by_label("Risk of a trade, % of equity", exact=True)).to_have_value("-3")
    expect_in_order(visit, "preset-faults")
