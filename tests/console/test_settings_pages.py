"""The page of operational settings: form, difference, save, versions, one-click restore."""

import json
from typing import Any

import pytest
from django.test import Client

from common.models import SettingsVersion
from common.operational import current, store
from common.operational.current import settings_now
from common.operational.document import FIRST
from common.operational.reading import KEYS
from common.permissions import Role
from tests.common.operational.test_document import SPECIFIED
from tests.html import html_of
from tests.portal.conftest import as_web_process
from tests.roles import staff
from users.models import User

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("inline_commits")]
PAGE = "/admin/console/settings/"


@pytest.fixture
def root() -> User:
    return staff(Role.ADMINISTRATOR, name="root")


@pytest.fixture
def console(root: User) -> Client:
    client = Client()
    client.force_login(root)
    return as_web_process(client)


def review(console: Client, **fields: str) -> Any:
    return console.post(f"{PAGE}change/", {"base": "0", "why": "A test.", **fields})


def save(console: Client, changes: Any, *, base: int = 0, why: str = "A test.") -> str:
    document = changes if isinstance(changes, str) else json.dumps(changes)
    posted = {"step": "save", "base": str(base), "document": document, "why": why}
    return html_of(console.post(f"{PAGE}change/", posted, follow=True))


def test_page_shows_three_settings_first_and_every_other_one(console: Client) -> None:
    shown = html_of(console.get(PAGE))
    places = [shown.index(f'name="{path}"') for path in KEYS]
    by_place = sorted(KEYS, key=lambda path: places[list(KEYS).index(path)])
    assert tuple(by_place[:3]) == FIRST
    assert "No version is stored: the document of FILLCAST_SETTINGS_SOURCE" in shown
    assert "No versions yet" in shown


def test_difference_is_shown_before_anything_is_saved(console: Client) -> None:
    shown = html_of(
        review(console, **{"execution.poll_seconds": "1", "execution.stuck_seconds": "30"})
    )
    assert "execution.poll_seconds" in shown
    assert "execution.stuck_seconds" not in shown  # it is what it was
    assert not SettingsVersion.objects.exists()


def test_saved_version_is_in_force_and_listed_with_its_reason(console: Client) -> None:
    shown = save(console, {"execution": {"poll_seconds": 1}}, why="Faster.")
    assert "Version 1 is stored" in shown
    assert settings_now().execution.poll_seconds == 1
    for part in ("Faster.", "root", "execution.poll_seconds: 2 →"):
        assert part in shown


def test_every_fault_of_a_form_is_beside_its_field(console: Client) -> None:
    answer = review(
        console,
        **{"execution.poll_seconds": "9", "networks.broker_networks": "10.0.0.0/8\nhere"},
    )
    shown = html_of(answer)
    assert answer.status_code == 400
    assert "2 values cannot be used" in shown
    assert "a whole number from 1 to 5" in shown
    assert 'value="9"' in shown  # what was typed stays
    assert "here" in shown


def test_lists_and_switches_and_empty_values_are_read_from_the_form(console: Client) -> None:
    typed = {
        "networks.broker_networks": "10.0.0.0/8\r\n192.168.0.0/16\r\n",
        "order_defaults.enable_limit_orders": "false",
        "order_defaults.max_slippage_pips": "2.5",
        "retention.log_days": "never",
        "users.quotas": '{"presets": 400}',
    }
    shown = html_of(review(console, **typed))
    document = shown.split('name="document" value="')[1].split('"')[0]
    save(console, document.replace("&quot;", '"'))
    found = settings_now()
    assert [str(one) for one in found.networks.broker_networks] == ["10.0.0.0/8", "192.168.0.0/16"]
    assert not found.order_defaults.enable_limit_orders
    assert str(found.order_defaults.max_slippage_pips) == "2.5"
    assert found.retention.log_days is None
    assert found.users.quotas == {"presets": 400}
    shown = html_of(review(console, **{"order_defaults.max_slippage_pips": ""}))
    assert "not set" in shown


def test_document_of_the_specification_is_imported_by_the_page(console: Client) -> None:
    assert "max_slippage_pips" in html_of(review(console, document=SPECIFIED))
    save(console, SPECIFIED)
    assert settings_now().order_defaults.max_slippage_pips == 3


@pytest.mark.parametrize("document", ["{", "[]", '{"x": {}}', '{"execution": {"x": 1}}'])
def test_invalid_import_changes_nothing_and_states_why(console: Client, document: str) -> None:
    answer = review(console, document=document)
    assert answer.status_code == 400
    assert "Nothing was saved" in html_of(answer)
    assert not SettingsVersion.objects.exists()


def test_save_from_an_older_page_is_refused(console: Client, root: User) -> None:
    store.save({"execution": {"poll_seconds": 3}}, by=root, why="Else.", origin="api")
    shown = save(console, {"execution": {"poll_seconds": 1}})
    assert "Version 1 was stored meanwhile by root" in shown
    assert settings_now().execution.poll_seconds == 3


def test_version_is_restored_by_one_click(console: Client, root: User) -> None:
    for seconds in (1, 3):
        store.save({"execution": {"poll_seconds": seconds}}, by=root, why="A.", origin="api")
    shown = html_of(console.post(f"{PAGE}1/restore/", follow=True))
    assert "Version 1 is in force again, as version 3" in shown
    assert settings_now().execution.poll_seconds == 1


def test_broken_version_is_an_alarm_on_the_page(console: Client, root: User) -> None:
    store.save({"execution": {"poll_seconds": 1}}, by=root, why="A.", origin="api")
    SettingsVersion.objects.create(id=2, document={"x": 1}, origin="api", why="B.")
    current.refresh()
    shown = html_of(console.get(PAGE))
    assert "Version 2 is invalid, so version 1 stays in force" in " ".join(shown.split())
    assert "invalid" in shown


def test_exported_document_is_a_valid_import(console: Client) -> None:
    save(console, {"fill_tracking": {"update_interval_seconds": "2.5"}})
    answer = console.get(f"{PAGE}export/")
    assert answer["Content-Disposition"] == 'attachment; filename="fillcast-settings-1.json"'
    before = settings_now()
    assert json.loads(answer.content)["fill_tracking"]["update_interval_seconds"] == "2.5"
    assert "Nothing differs" in html_of(
        console.post(f"{PAGE}change/", {"document": answer.content.decode()}, follow=True)
    )
    assert settings_now() == before


def test_reader_sees_the_settings_and_changes_none(root: User) -> None:
    client = Client()
    client.force_login(staff(Role.SUPPORT))
    shown = html_of(as_web_process(client).get(PAGE))
    assert "Review the changes" not in shown
    assert client.post(f"{PAGE}change/", {"step": "save"}).status_code == 403
