"""The own audit trail: who changed what, from where, by which key; nothing of others."""

import csv
import io
from typing import Any

import pytest
from django.test import Client

from common.db.audit_trail import changed_by
from connections.models import KillSwitch, TradingPreset
from events.services import create_channel
from tests.html import html_of
from tests.portal.conftest import SignedIn
from tests.portal.factories import World
from users.services import create_api_key
from users.tenancy import on_behalf_of

pytestmark = pytest.mark.usefixtures("inline_commits")
PATH = "/security/trail/"


def lines_of(client: Client) -> list[dict[str, str]]:
    response: Any = client.get("/security/trail.csv")
    text = b"".join(response.streaming_content).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text)))


def test_trail_names_key_address_and_staff(world: World, signed_in: SignedIn) -> None:
    _, secret = create_api_key(world.alice, "report bot")
    bot = Client(headers={"Authorization": f"Bearer {secret}"})
    body = {"time_zone": "Europe/Berlin"}
    changed = bot.patch("/api/v1/me/", body, "application/json", REMOTE_ADDR="203.0.113.7")
    assert changed.status_code == 200
    with on_behalf_of(world.olga), changed_by(world.olga.pk):
        type(world.mt5).objects.filter(pk=world.mt5.pk).update(name="renamed by staff")
    with on_behalf_of(world.bob):
        create_channel(user_id=world.bob.pk, name="bobs own", url="mailto:b@example.com")
    client = signed_in(world.alice)
    lines = lines_of(client)
    mine = next(line for line in lines if "Europe/Berlin" in line["fields"])
    assert (mine["by"], mine["address"], mine["api_key"]) == ("you", "203.0.113.7", "report bot")
    assert mine["what"] == "your login"
    theirs = next(line for line in lines if "renamed by staff" in line["fields"])
    assert (theirs["by"], theirs["address"]) == ("staff", "")
    assert "olga" not in str(lines)
    assert "bobs own" not in str(lines)
    page = html_of(client.get(PATH))
    assert client.get("/history/").status_code == 200
    assert "with the key “report bot”" in page
    listed = client.get("/api/v1/trail/").json()["results"]
    assert len(listed) == len(lines)
    assert "Europe/Berlin" not in str(lines_of(signed_in(world.bob)))


@pytest.mark.usefixtures("inline_commits")
def test_page_works_with_the_rights_of_the_web_process(
    world: World, signed_in: SignedIn, as_web: None
) -> None:
    client = signed_in(world.alice)
    assert "My audit trail" in html_of(client.get(PATH))
    assert lines_of(client)
    for table in ("signals", "orders", "trades"):
        assert "Nothing yet" not in html_of(client.get(f"/history/{table}/"))


def test_trail_names_what_was_changed_in_words(world: World, signed_in: SignedIn) -> None:
    with on_behalf_of(world.alice), changed_by(world.alice.pk):
        TradingPreset.objects.create(user=world.alice, name="My own", risk_percent=1)
        KillSwitch.objects.create(
            scope="USER", user=world.alice, mode="REDUCING", set_by=world.alice, reason="holiday"
        )
    kinds = {line["what"] for line in lines_of(signed_in(world.alice))}
    assert {"trading preset", "kill switch"} <= kinds
