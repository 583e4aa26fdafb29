"""Item 9, API keys: scopes, end, last use, and what a key may not do."""

from playwright.sync_api import expect

from tests.browser.acts import PASSWORD, expect_in_order, fill, follow, press
from tests.browser.devices import ITEM_DEVICES
from tests.browser.visits import Device, Visit


@ITEM_DEVICES
def test_a_key_is_made_used_seen_and_revoked(visit: Visit, device: Device, newcomer: str) -> None:
    page = visit.arrive(newcomer, PASSWORD)
    page.goto("/keys/")
    expect(page.get_by_role("heading", name="No API keys yet")).to_be_visible()
    follow(page, "New API key")
    fill(page, name="report script")
    press(page, "Create the key")
    key = page.locator(".fc-key").inner_text()
    assert key.startswith("fc_")
    expect_in_order(visit, "key-made")
    follow(page, "I have copied it")
    row = page.locator("tbody tr")
    expect(row).to_contain_text("never")
    expect(page.locator("body")).not_to_contain_text(key)

    context = page.context.browser.new_context(base_url=page.url.partition("/keys")[0])  # type: ignore[union-attr]
    signed = {"Authorization": f"Bearer {key}"}
    assert context.request.get("/api/v1/connections/", headers=signed).status == 200
    paper = context.request.post("/api/v1/connections/paper/", headers=signed, data={})
    assert paper.status == 403  # its scope is to read
    page.reload()
    expect(row).to_contain_text("from 127.0.0")
    expect_in_order(visit, "keys")
    follow(page, "Revoke…")
    press(page, "Revoke it")
    expect(row).to_contain_text("Revoked")
    assert context.request.get("/api/v1/connections/", headers=signed).status == 401
    context.close()
