"""Item 3, before money moves: a preset by form, with an example in money and a review."""

import re

from playwright.sync_api import expect

from tests.browser.acts import (
    confirm,
    expect_after_reloads,
    expect_heading,
    expect_in_order,
    fill,
    follow,
    go_to_account,
    press,
)
from tests.browser.devices import ITEM_DEVICES
from tests.browser.looked_at import looks_at
from tests.browser.trading import open_both_sides
from tests.browser.visits import Device, Visit


@ITEM_DEVICES
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


@ITEM_DEVICES
@looks_at("portal:loss_limit_edit", "portal:loss_limit_remove", "portal:preset_remove")
def test_a_loss_limit_and_its_preset_are_changed_and_removed(
    visit: Visit, device: Device, trader: str
) -> None:
    page = visit.page
    page.goto("/presets/")
    follow(page, "Copy Standard 1 %")
    fill(page, name="For a while")
    press(page, "Create it")
    page.goto("/presets/")
    follow(page, "Change For a while")
    follow(page, "Add a loss limit")
    fill(page, maximum="3")
    confirm(page)
    limits = page.locator("section:has(#h-loss)")
    expect(limits).to_contain_text("3")
    follow(page, "Change", inside="section:has(#h-loss) li")
    expect_in_order(visit, "loss-limit")
    fill(page, maximum="4")
    confirm(page)
    expect(limits).to_contain_text("4")
    follow(page, "Remove", inside="section:has(#h-loss) li")
    expect_in_order(visit, "loss-limit-remove")
    confirm(page)
    expect(limits.locator("li")).to_have_count(0)
    page.goto("/presets/")
    follow(page, "Remove For a while")
    expect_in_order(visit, "preset-remove")
    confirm(page)
    expect(page.get_by_role("link", name="Change For a while")).to_have_count(0)


@ITEM_DEVICES
@looks_at("portal:entries_resume")
def test_entries_that_a_loss_limit_paused_are_resumed(
    visit: Visit, device: Device, trader: str
) -> None:
    page = visit.page
    open_both_sides(page, trader)
    go_to_account(page)
    follow(page, "Add a limit")
    fill(page, maximum="0.01")
    page.locator("[name=unit]").select_option("AMOUNT")
    confirm(page)
    resume = page.locator("#limits").get_by_role("link", name="Resume…")
    expect_after_reloads(page, resume)
    follow(page, "Resume…", inside="#limits")
    expect_in_order(visit, "entries-resume")
    confirm(page)
    expect(page.get_by_text("trades from the next signal on")).to_be_visible()


@ITEM_DEVICES
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


def test_only_the_sizing_fields_of_the_chosen_rule_are_shown(visit: Visit, trader: str) -> None:
    page = visit.page
    page.goto("/presets/new/")
    rule = page.get_by_label("Rule", exact=True)
    percent = page.locator("[name=risk_percent]")
    quantity, per_balance = (
        page.locator("[name=fixed_quantity]"),
        page.locator("[name=per_balance]"),
    )
    percent.fill("0.5")
    expect(quantity).to_be_hidden()
    rule.select_option("PER_BALANCE")
    expect(percent).to_be_hidden()
    expect(quantity).to_be_visible()
    expect(per_balance).to_be_visible()
    # what is missing is named beside a field that is shown, and what was typed elsewhere stays
    fill(page, name="By balance")
    press(page, "Create it")
    expect(page.locator("[role=alert]").first.get_by_role("link")).to_have_count(2)
    expect(per_balance).to_be_visible()
    page.get_by_label("Rule", exact=True).select_option("RISK_PERCENT")
    expect(page.locator("[name=risk_percent]")).to_have_value("0.5")
