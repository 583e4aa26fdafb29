"""Item 1, getting in: sign up, reset, second factor, sessions, own data, delete the login."""

import io
import json
import re
import time
import zipfile
from base64 import b32decode

from playwright.sync_api import APIRequestContext, Browser, Page, expect

from tests.browser.acts import (
    PASSWORD,
    WORKER_MS,
    Inbox,
    another_browser,
    downloaded,
    expect_heading,
    expect_in_order,
    fill,
    follow,
    invite,
    new_name,
    press,
    reset_second_factor,
    sign_up,
)
from tests.browser.database import DemoDatabase
from tests.browser.devices import ITEM_DEVICES
from tests.browser.looked_at import looks_at
from tests.browser.visits import Device, Visit
from users.sign_in.one_time_codes import code_at

NEXT_PASSWORD = "another-password-of-mine-8"


def code_now(secret: str, *, step: int = 0) -> str:
    padded = secret.replace(" ", "").upper()
    key = b32decode(padded + "=" * (-len(padded) % 8))
    return code_at(key, int(time.time()) // 30 + step)


@ITEM_DEVICES
@looks_at("visitor:sign_up_finish")
def test_sign_up_by_a_mail_and_set_the_time_zone(
    visit: Visit, device: Device, inbox: Inbox
) -> None:
    page = sign_up(visit, inbox, new_name(), looks=True)
    expect(page.get_by_role("heading", name="First steps")).to_be_visible()
    page.goto("/profile/")
    expect(page.get_by_text("Confirmed", exact=True)).to_be_visible()
    page.get_by_label("Time zone").select_option("Asia/Tokyo")
    page.get_by_label("Full name").fill("Zoé Example")
    press(page, "Save")
    expect_in_order(visit, "profile")
    page.goto("/")
    expect(page.locator(".fc-clock")).to_contain_text("Tokyo")


@ITEM_DEVICES
@looks_at("visitor:invitation")
def test_an_invitation_is_for_one_login_and_until_its_end(
    visit: Visit, device: Device, operators: APIRequestContext, database: DemoDatabase
) -> None:
    page, name = visit.page, new_name()
    link = invite(operators, name)
    page.goto(link)
    expect_heading(page, "You are invited")
    expect_in_order(visit, "invitation")
    fill(page, username=name, password1=PASSWORD, password2=PASSWORD)
    press(page, "Create my login")
    expect(page.get_by_text(f"Welcome, {name}.")).to_be_visible()
    page.context.clear_cookies()
    page.goto(link)
    expect_heading(page, "This link does not work")
    expect(page.get_by_text("This invitation was used: it works once.")).to_be_visible()
    late = invite(operators, name := new_name())
    page.goto(late)
    fill(page, username=name, password1=PASSWORD, password2=PASSWORD)
    database.end_invitation(name)  # while the form is open
    press(page, "Create my login")
    expect_heading(page, "This link does not work")
    expect(page.get_by_text("This invitation ended on")).to_be_visible()
    expect_in_order(visit, "invitation-ended")


@ITEM_DEVICES
@looks_at("visitor:confirm_address", "visitor:forgot_password", "visitor:reset_password")
def test_an_address_is_confirmed_and_a_forgotten_password_replaced(
    visit: Visit, device: Device, newcomer: str, inbox: Inbox
) -> None:
    name, address = newcomer, f"{newcomer}@example.com"
    page = visit.sign_in(name, PASSWORD)
    page.goto("/profile/")
    follow(page, "Change the address")
    fill(page, email=address)
    page.get_by_label("Your password").fill(PASSWORD)
    press(page, "Change it")
    page.goto(inbox.link_to(address, "/confirm-address/"))
    expect_in_order(visit, "confirm-address")
    press(page, "Confirm it")
    expect(page.get_by_text(f"{address} is confirmed.")).to_be_visible()
    press(page, "Sign out", inside="body")
    page.goto("/login/")
    follow(page, re.compile("Forgot"))
    expect_in_order(visit, "forgot-password")
    fill(page, email=address)
    press(page, "Send me the link")
    expect_heading(page, "Look at your mail")
    link = inbox.link_to(address, "/reset-password/")
    page.goto(link)
    fill(page, new_password1=NEXT_PASSWORD, new_password2=NEXT_PASSWORD)
    expect_in_order(visit, "new-password")
    press(page, "Set the password")
    expect(page.get_by_text("Your password was replaced")).to_be_visible()
    visit.sign_in(name, NEXT_PASSWORD)
    expect(page.get_by_role("heading", name="First steps")).to_be_visible()
    page.goto(link)  # a link that was used
    expect_heading(page, "This link does not work")
    expect(page.get_by_text("Nothing was changed.")).to_be_visible()
    expect(page.get_by_role("link", name="Get a new link")).to_be_visible()


def with_second_factor(page: Page) -> str:
    """Set a second factor up; return one of its recovery codes."""
    page.goto("/security/enrol/")
    fill(page, code=code_now(page.locator(".fc-hint code").inner_text()), password=PASSWORD)
    press(page, "Set it up")
    return page.locator(".fc-codes li").first.inner_text()


@ITEM_DEVICES
@looks_at("security:confirm", "security:first")
def test_a_second_factor_is_asked_for_again_and_replaced_after_a_reset(
    visit: Visit,
    device: Device,
    newcomer: str,
    operators: APIRequestContext,
    database: DemoDatabase,
) -> None:
    page = visit.sign_in(newcomer, PASSWORD)
    recovery = with_second_factor(page)
    session = next(one for one in page.context.cookies() if one["name"] == "sessionid")
    database.age_second_factor(session["value"], seconds=600)
    page.goto("/keys/create/")
    expect_heading(page, "Confirm that it is you")
    expect_in_order(visit, "confirm")
    fill(page, code=recovery)
    press(page, "Continue")
    expect_heading(page, "New API key")
    press(page, "Sign out", inside="body")
    visit.sign_in(newcomer, PASSWORD)
    expect_heading(page, "Second factor")
    reset_second_factor(operators, newcomer)  # the phone is lost, and the operator is called
    page.goto("/login/first/")
    expect_heading(page, "Set up your second factor")
    expect_in_order(visit, "first-factor")


@ITEM_DEVICES
@looks_at("security:code", "security:recovery_codes")
def test_a_second_factor_is_set_up_and_asked_for(
    visit: Visit, device: Device, newcomer: str
) -> None:
    name, page = newcomer, visit.sign_in(newcomer, PASSWORD)
    page.goto("/security/")
    follow(page, "Set it up")
    expect(page.get_by_role("img", name="QR code")).to_be_visible()
    expect_in_order(visit, "second-factor")
    secret = page.locator(".fc-hint code").inner_text()
    fill(page, code=code_now(secret), password=PASSWORD)
    press(page, "Set it up")
    expect_heading(page, "Your recovery codes")
    codes = page.locator(".fc-codes li")
    expect(codes).to_have_count(10)
    recovery = codes.first.inner_text()
    expect_in_order(visit, "recovery-codes")
    follow(page, "I have saved them")
    expect(page.get_by_text("10 of 10 recovery codes are left")).to_be_visible()
    press(page, "New recovery codes")
    expect(codes).to_have_count(10)
    assert codes.first.inner_text() != recovery
    recovery = codes.first.inner_text()
    expect_in_order(visit, "new-recovery-codes")
    page.goto("/")
    press(page, "Sign out", inside="body")
    visit.sign_in(name, PASSWORD)
    expect_heading(page, "Second factor")
    fill(page, code="000000")
    press(page, "Sign in")
    expect(page.locator("#id_code_error")).to_be_visible()
    expect_in_order(visit, "second-factor-wrong")
    fill(page, code=recovery)  # the phone is lost
    press(page, "Sign in")
    page.goto("/security/")
    expect(page.get_by_text("9 of 10 recovery codes are left")).to_be_visible()


@ITEM_DEVICES
def test_sessions_are_listed_and_signed_out_everywhere(
    visit: Visit, device: Device, newcomer: str, browser: Browser, demo: str
) -> None:
    name, page = newcomer, visit.sign_in(newcomer, PASSWORD)
    with another_browser(browser, demo, device) as other:
        other.sign_in(name, PASSWORD)
        page.goto("/security/")
        follow(page, "Your sessions")
        expect(page.locator("tbody tr")).to_have_count(2)
        expect(page.get_by_text("This one")).to_have_count(1)
        expect_in_order(visit, "sessions")
        follow(page, "Sign out everywhere")
        page.locator("#confirm-button").click()
        expect(page.locator("tbody tr")).to_have_count(1)
        other.page.goto("/positions/")
        expect(other.page.get_by_role("button", name="Sign in")).to_be_visible()


@ITEM_DEVICES
def test_own_data_is_downloaded_as_one_archive(visit: Visit, device: Device, newcomer: str) -> None:
    name, page = newcomer, visit.arrive(newcomer, PASSWORD)
    page.goto("/data/")
    press(page, "Make the archive")
    expect(page.get_by_text("Ready", exact=True)).to_be_visible(timeout=WORKER_MS)
    expect_in_order(visit, "own-data")
    with downloaded(page, "Download it") as content:
        archive = zipfile.ZipFile(io.BytesIO(content))
    names = archive.namelist()
    assert {file.rpartition(".")[2] for file in names} >= {"json", "csv"}
    profile = next(file for file in names if "profile" in file or "user" in file)
    assert name in archive.read(profile).decode()
    assert all(json.loads(archive.read(file)) is not None for file in names if ".json" in file)


@ITEM_DEVICES
def test_a_login_is_deleted_after_saying_what_ends(
    visit: Visit, device: Device, newcomer: str
) -> None:
    name, page = newcomer, visit.arrive(newcomer, PASSWORD)
    page.goto("/security/")
    follow(page, "Delete your login")
    expect(page.get_by_text("This cannot be undone")).to_be_visible()
    expect_in_order(visit, "delete-login")
    fill(page, password="not my password")
    press(page, "Delete my login")
    expect(page.get_by_text("This is not your password")).to_be_visible()
    fill(page, password=PASSWORD)
    press(page, "Delete my login")
    expect_heading(page, "Your login is deleted")
    visit.sign_in(name, PASSWORD)
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
