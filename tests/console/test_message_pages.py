"""The pages of message texts: preview, validation, save, back to the built-in text."""

from typing import Any

import pytest
from django.test import Client

from common.models import SettingsVersion
from common.operational import store
from common.operational.current import settings_now
from common.permissions import Role
from tests.html import html_of
from tests.portal.conftest import as_web_process
from tests.roles import staff
from users.models import User

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("inline_commits")]
PAGE = "/admin/console/settings/messages/"
FILLED = f"{PAGE}order.filled/"


@pytest.fixture
def root() -> User:
    return staff(Role.ADMINISTRATOR, name="root")


@pytest.fixture
def console(root: User) -> Client:
    client = Client()
    client.force_login(root)
    return as_web_process(client)


def post(console: Client, act: str, **fields: str) -> Any:
    sent = {"base": "0", "title": "Ours: {trade}", "body": "{account}", act: "1", **fields}
    return console.post(f"{FILLED}change/", sent, follow=True)


def texts() -> dict[str, Any]:
    return {kind: tuple(text) for kind, text in settings_now().messages.texts.items()}


def test_list_shows_the_messages_of_an_orders_way_first(console: Client) -> None:
    shown = html_of(console.get(PAGE))
    places = [shown.index(f"{PAGE}{kind}/") for kind in
              ("order.placed", "order.filled", "order.failed", "order.denied")]  # fmt: skip
    assert places == sorted(places)
    assert "All have their built-in texts." in shown
    assert "channel.confirmation" not in shown
    assert "Texts of messages" in html_of(console.get("/admin/console/settings/"))


def test_preview_shows_an_example_and_stores_nothing(console: Client) -> None:
    shown = html_of(post(console, "preview"))
    assert "Ours: Buy 10,000 EUR/USD" in shown
    assert 'value="Ours: {trade}"' in shown
    assert not SettingsVersion.objects.exists()


def test_saved_text_is_in_force_listed_and_on_the_audit_trail(console: Client) -> None:
    shown = html_of(post(console, "save", why="Our words."))
    assert "Version 1 is stored: within two seconds, your text is sent." in shown
    assert texts() == {"order.filled": ("Ours: {trade}", "{account}")}
    assert "1 of" in html_of(console.get(PAGE))
    version = SettingsVersion.objects.get()
    assert (version.username, version.why, version.origin) == ("root", "Our words.", "console")


def test_built_in_text_is_used_again_by_one_click(console: Client) -> None:
    post(console, "save")
    shown = html_of(post(console, "reset", base="1"))
    assert "the built-in text is sent." in shown
    assert texts() == {}
    assert SettingsVersion.objects.get(pk=2).why == "Text of order.filled reset."


def test_unknown_placeholder_is_named_and_what_was_typed_stays(console: Client) -> None:
    answer = post(console, "save", title="{acount} filled", body="{price")
    shown = html_of(answer)
    assert answer.status_code == 400
    assert "Unknown: {acount}. This message has {title}, {text}, {account}" in shown
    assert "A { has no }, or a } has no {. Write {{ or }} for a brace itself." in shown
    assert 'value="{acount} filled"' in shown
    assert not SettingsVersion.objects.exists()


def test_empty_title_is_refused(console: Client) -> None:
    assert "A message needs a title." in html_of(post(console, "save", title=" "))


def test_text_changed_meanwhile_is_not_overwritten(console: Client, root: User) -> None:
    store.save({"execution": {"poll_seconds": 1}}, by=root, why="x", origin="console")
    answer = post(console, "save")
    assert answer.status_code == 409
    shown = html_of(answer)
    assert "STATE_CONFLICT" in shown
    assert 'value="Ours: {trade}"' in shown
    assert texts() == {}


def test_other_texts_stay_when_one_is_changed(console: Client, root: User) -> None:
    others = {"order.placed": {"title": "x", "body": ""}}
    store.save({"messages": {"texts": others}}, by=root, why="x", origin="console")
    post(console, "save", base="1")
    assert set(texts()) == {"order.placed", "order.filled"}
    post(console, "reset", base="2")
    assert set(texts()) == {"order.placed"}


def test_broken_text_is_marked_in_the_list_and_on_its_page(console: Client) -> None:
    document = store.document_of(None)
    document["messages"]["texts"] = {"order.filled": {"title": "{later}", "body": ""}}
    SettingsVersion.objects.create(id=1, document=document, origin="console", why="by SQL")
    assert "Cannot be used" in html_of(console.get(PAGE))
    shown = html_of(console.get(FILLED))
    assert "until it is corrected, the built-in text is sent" in shown
    assert "Unknown: {later}." in shown


def test_unknown_kind_is_not_found(console: Client) -> None:
    for kind in ("order.lost", "channel.confirmation"):
        assert console.get(f"{PAGE}{kind}/").status_code == 404


def test_markup_in_a_text_is_shown_as_text(console: Client) -> None:
    shown = post(console, "preview", title="<b>x</b>", body="<script>1</script>").content.decode()
    assert "<script>1" not in shown
    assert "&lt;script&gt;1" in shown
