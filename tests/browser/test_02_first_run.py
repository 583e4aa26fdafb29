"""A new user: a paper account by one click, its test, a preset of one's own, a subscription.

The operator of the demo adds the user; from then on the user does everything in the portal.
"""

import re
from uuid import uuid4

from playwright.sync_api import expect

from tests.browser.acts import PASSWORD, WORKER_MS, expect_in_order, follow, press
from tests.browser.devices import ITEM_DEVICES
from tests.browser.looked_at import looks_at
from tests.browser.visits import Device, Visit


@ITEM_DEVICES
@looks_at("portal:first_steps")
def test_from_nothing_to_a_subscription(visit: Visit, device: Device, newcomer: str) -> None:
    page = visit.sign_in(newcomer, PASSWORD)
    expect(page.get_by_role("heading", name="First steps")).to_be_visible()
    expect_in_order(visit, "first-steps")
    press(page, "Open a paper account with 10,000 USD")
    expect(page.get_by_text("is open and funded")).to_be_visible()
    # the test's result appears by itself
    checks = page.locator("#checks")
    expect(checks.get_by_text("the paper broker answers")).to_be_visible(timeout=WORKER_MS)
    expect(checks.get_by_text("accepted")).to_be_visible()
    expect(checks).not_to_have_attribute("aria-busy", "true", timeout=WORKER_MS)
    expect_in_order(visit, "first-test")

    page.goto("/")
    follow(page, "Choose a preset")
    expect_in_order(visit, "presets")
    page.goto("/presets/new/")
    page.get_by_label("Name", exact=True).fill("My own")
    risk = page.get_by_label("Risk of a trade, % of equity", exact=True)
    risk.fill("2")
    example = page.locator("#example")
    expect(example).to_contain_text("By 2 % of equity at risk and a stop of 30 pips")
    expect(example).to_contain_text(re.compile(r"lots .*risk [\d.,]+ USD", re.DOTALL))
    risk.fill("1")  # it follows what is typed
    expect(example).to_contain_text("By 1 % of equity at risk")
    expect_in_order(visit, "preset-form")
    press(page, "Create it")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Use My own for an account")
    press(page, "Use it")
    expect(page.get_by_text("Paper USD uses My own")).to_be_visible()

    page.goto("/")
    follow(page, "See the feeds")
    follow(page, "Subscribe")
    press(page, "Subscribe")
    expect(page.get_by_text("Subscribed to")).to_be_visible()
    page.goto("/")
    expect(page.locator("#first-steps")).to_have_count(0)  # nothing is left to do
    page.goto("/first-steps/")
    expect(page.get_by_text("done", exact=True)).to_have_count(5)
    expect_in_order(visit, "first-steps-done")

    # a change of a preset in use: what it means, before it is saved
    page.goto("/presets/")
    follow(page, "Change My own")
    page.get_by_label("Risk of a trade, % of equity", exact=True).fill("0.5")
    press(page, "Continue")
    expect(page.get_by_role("heading", level=1)).to_have_text("Save My own?")
    expect_in_order(visit, "preset-review")
    press(page, "Save")
    expect(page.get_by_text("My own was saved")).to_be_visible()


@ITEM_DEVICES
def test_a_refused_password_is_shown_beside_the_form(
    visit: Visit, device: Device, newcomer: str
) -> None:
    page = visit.sign_in(newcomer, PASSWORD)
    page.goto("/accounts/add/?type=paper")
    expect_in_order(visit, "account-form")
    page.get_by_label("Name", exact=True).fill("No such account")
    page.get_by_label("Account number").fill(f"none-{uuid4().hex[:6]}")
    press(page, "Add the account")
    beside = page.locator("#test-beside")
    expect(beside.get_by_text("It did not pass")).to_be_visible(timeout=WORKER_MS)
    expect_in_order(visit, "account-test-failed")
