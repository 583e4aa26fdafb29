"""Item 7, results: periods, tables as CSV, a month to print, definitions."""

import csv

from playwright.sync_api import expect

from tests.browser.acts import downloaded, expect_heading, expect_in_order, follow
from tests.browser.devices import ITEM_DEVICES
from tests.browser.visits import Device, Visit


@ITEM_DEVICES
def test_results_of_a_period_are_shown_and_downloaded(visit: Visit, device: Device) -> None:
    page = visit.arrive()
    follow(page, "Results")
    figures = page.locator("dl.fc-kpis")
    for figure in ("Net result", "Win rate", "Profit factor", "Expectancy", "Sharpe", "Sortino"):
        expect(figures).to_contain_text(figure)
    for table in ("By feed", "By pair", "By account", "By hour"):
        expect(page.get_by_role("heading", name=table)).to_be_visible()
    expect_in_order(visit, "results")
    for period in ("Day", "Week", "Year", "All"):
        follow(page, period, inside=".fc-filters")
        expect(page.locator(".fc-filters [aria-current]").first).to_have_text(period)
    follow(page, "Month", inside=".fc-filters")
    with downloaded(page, "Trades as CSV") as content:
        lines = list(csv.DictReader(content.decode("utf-8-sig").splitlines()))
    assert len(lines) > 5
    page.get_by_label("From").fill("2014-05-01")
    page.get_by_label("To", exact=True).fill("2014-05-02")
    with page.expect_navigation():
        page.get_by_role("button", name="Show").click()
    expect(page.locator(".fc-head p").first).to_contain_text("2014")


@ITEM_DEVICES
def test_a_month_is_printed_without_navigation(visit: Visit, device: Device) -> None:
    page = visit.arrive()
    page.goto("/results/")
    follow(page, "Print ")
    expect_heading(page, "Results of May 2014")
    expect_in_order(visit, "results-month")
    page.emulate_media(media="print")
    expect(page.locator(".fc-side")).to_be_hidden()
    expect(page.locator(".fc-kpis").first).to_be_visible()
    visit.screenshot("results-month-printed")


@ITEM_DEVICES
def test_definitions_are_one_click_away(visit: Visit, device: Device) -> None:
    page = visit.arrive()
    page.goto("/results/")
    follow(page, "What the figures mean")
    for word in ("Expectancy", "Sharpe ratio", "Max drawdown", "Slippage"):
        expect(page.locator("#main")).to_contain_text(word)
    page.goto("/results/execution/")
    expect_heading(page, "Execution of each signal")
    expect_in_order(visit, "results-execution")
