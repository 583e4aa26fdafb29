"""Item 8: Discord, Slack and a signed webhook are set up by clicks, and get a test message."""

import time
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.acts import PASSWORD, WORKER_MS, confirm, expect_in_order, fill, follow, press
from tests.browser.devices import ITEM_DEVICES
from tests.browser.looked_at import looks_at
from tests.browser.running_demo import RunningDemo
from tests.browser.visits import Device, Visit
from tests.events.webhook_endpoint import Endpoint, serving
from tests.fakes.chat_services import JOURNAL, messages_at

ACCEPTED = "The test message was accepted"


@pytest.fixture
def chats(running_demo: RunningDemo) -> Path:
    """Return the folder with what Discord and Slack were sent (tests/fakes/chat_services.py)."""
    if not (running_demo.folder / JOURNAL).exists():
        pytest.skip("this demo was not started by the tests: its messages would leave the machine")
    return running_demo.folder


def send_test(page: Page) -> None:
    press(page, "Send a test message")
    expect(page.locator("#live [role=status]")).to_contain_text(ACCEPTED, timeout=WORKER_MS)


@ITEM_DEVICES
@looks_at("security:channel_create", "security:channel_new", "security:channel")
def test_discord_and_slack_get_their_test_messages(
    visit: Visit, device: Device, newcomer: str, chats: Path
) -> None:
    page, own = visit.arrive(newcomer, PASSWORD), newcomer.rpartition("-")[2]
    for service, wrong, address in (
        ("Discord", "https://discord.com/channels/1/2",
         f"https://discord.com/api/webhooks/4711/token-{own}"),
        ("Slack", "https://hooks.slack.com/services/one",
         f"https://hooks.slack.com/services/T{own.upper()}/B2/token{own}"),
    ):  # fmt: skip
        page.goto("/channels/create/")
        if service == "Discord":
            expect_in_order(visit, "channel-services")
        follow(page, service)
        expect(page.locator("ol li")).to_have_count(2)  # where the address is found
        fill(page, name=f"Team on {service}", webhook_url=wrong)
        press(page, "Create the channel")
        expect(page.locator("#main")).to_contain_text("Expected https://")
        fill(page, webhook_url=address)
        expect_in_order(visit, f"channel-{service.lower()}-refused")
        press(page, "Create the channel")
        send_test(page)
        expect_in_order(visit, f"channel-{service.lower()}")
        [message] = messages_at(chats, address.removeprefix("https://"))
        assert "Fillcast can reach you here" in str(message)
        expect(page.locator("body")).not_to_contain_text(f"token-{own}")


@ITEM_DEVICES
@looks_at("security:channel", "security:channel_secret")
def test_a_webhook_is_signed_with_both_secrets_while_one_replaces_the_other(
    visit: Visit, device: Device, newcomer: str
) -> None:
    page = visit.arrive(newcomer, PASSWORD)
    with serving() as endpoint:
        page.goto("/channels/create/webhook/")
        fill(page, name="My program", url=endpoint.url)
        press(page, "Create the channel")
        first = page.locator(".fc-key").inner_text()
        follow(page, "I have copied it")
        send_test(page)
        assert endpoint.verified(first)["type"] == "fillcast.events"
        expect(page.locator("section:has(#h-log)")).to_contain_text("200 in")
        expect_in_order(visit, "webhook-accepted")
        follow(page, "Replace the secret…")
        expect_in_order(visit, "webhook-replace")
        confirm(page)
        second = page.locator(".fc-key").inner_text()
        assert second != first
        follow(page, "I have copied it")
        press(page, "Send a test message")
        _arrived(endpoint, 2)
        assert endpoint.verified(first) == endpoint.verified(second)


def _arrived(endpoint: Endpoint, count: int) -> None:
    """Wait for a message that a worker sends."""
    end = time.monotonic() + WORKER_MS / 1000
    while len(endpoint.received) < count:
        assert time.monotonic() < end, endpoint.received
        time.sleep(0.2)
