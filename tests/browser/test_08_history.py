"""Item 8: history with search and export, own audit trail, notifications set up by clicks."""

import csv
import json

from playwright.sync_api import expect

from tests.browser.acts import (
    PASSWORD,
    WORKER_MS,
    Inbox,
    downloaded,
    expect_in_order,
    fill,
    follow,
    press,
)
from tests.browser.devices import ITEM_DEVICES
from tests.browser.looked_at import looks_at
from tests.browser.visits import Device, Visit


@ITEM_DEVICES
@looks_at("portal:history", "portal:history_start")
def test_history_is_searched_and_exported(visit: Visit, device: Device) -> None:
    page = visit.arrive()
    page.goto("/history/")  # as people type it
    expect_in_order(visit, "history-start")
    follow(page, "History")
    follow(page, "Orders", inside=".fc-filters")
    expect(page.locator("tbody tr").first).to_be_visible()
    expect_in_order(visit, "history")
    fill(page, pair="NZD/USD")
    press(page, "Search")
    expect(page.locator("tbody tr").first).to_contain_text("NZD/USD")
    with downloaded(page, "CSV") as content:
        lines = list(csv.DictReader(content.decode("utf-8-sig").splitlines()))
    assert {line["pair"].replace("/", "") for line in lines} == {"NZDUSD"}
    with downloaded(page, "JSON") as content:
        assert len(json.loads(content)) == len(lines)
    fill(page, q="no such order")
    press(page, "Search")
    expect(page.get_by_role("heading", name="Nothing matches")).to_be_visible()
    follow(page, "Show everything")
    expect(page.locator("tbody tr").first).to_be_visible()


@ITEM_DEVICES
def test_the_own_audit_trail_names_each_change(visit: Visit, device: Device, trader: str) -> None:
    page = visit.page
    page.goto("/security/")
    follow(page, "My audit trail")
    expect(page.locator("tbody")).to_contain_text("you")
    expect_in_order(visit, "trail")


@ITEM_DEVICES
@looks_at("security:channel_confirm", "security:channel_kinds")
def test_mail_is_set_up_confirmed_and_tested(
    visit: Visit, device: Device, newcomer: str, inbox: Inbox
) -> None:
    page, address = visit.arrive(newcomer, PASSWORD), f"channel-{newcomer}@example.com"
    page.goto("/channels/")
    expect(page.get_by_role("heading", name="No channels yet")).to_be_visible()
    follow(page, "New channel")
    expect_in_order(visit, "channel-choose")
    follow(page, "Telegram")  # its steps can be read
    expect(page.locator("ol li")).to_have_count(3)
    assert page.locator("ol li").first.bounding_box()["height"] < 80  # type: ignore[index]
    expect_in_order(visit, "channel-telegram")
    follow(page, "Another service")
    follow(page, "E-mail")
    fill(page, name="Mine", mail_address=address)
    press(page, "Create the channel")
    expect(page.get_by_text("Not confirmed").first).to_be_visible()
    page.goto(inbox.link_to(address, "/channels/"))
    expect_in_order(visit, "channel-confirm")
    page.locator("form button[type=submit]").last.click()
    expect(page.get_by_text("confirmed").first).to_be_visible()
    page.goto("/channels/kinds/")
    expect(page.get_by_role("checkbox").first).to_be_visible()
    expect_in_order(visit, "channel-kinds")


@ITEM_DEVICES
def test_quiet_hours_and_a_digest_are_set(visit: Visit, device: Device, newcomer: str) -> None:
    page = visit.arrive(newcomer, PASSWORD)
    page.goto("/channels/create/webhook/")
    fill(page, name="My program")
    page.locator("input[name*=address]:visible, input[name*=url]:visible").first.fill(
        "https://hooks.example.com/fillcast"
    )
    press(page, "Create the channel")
    expect(page.locator("#main")).to_contain_text("whsec_")  # shown once
    expect_in_order(visit, "webhook-secret")
    page.goto("/channels/")
    follow(page, "My program")
    press(page, "Send a test message")
    expect(page.locator("#live [role=status]")).to_contain_text("Not accepted", timeout=WORKER_MS)
    expect_in_order(visit, "channel")
    fill(page, quiet_from="22:00", quiet_until="07:00")
    press(page, "Save")
    expect(page.locator("[name=quiet_from]")).to_have_value("22:00")
