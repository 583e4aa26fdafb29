"""`manage.py operational_settings`."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from common.models import SettingsVersion
from common.operational.current import settings_now
from tests.common.operational.test_document import SPECIFIED

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("inline_commits")]


def run(*arguments: str) -> Any:
    out = io.StringIO()
    call_command("operational_settings", *arguments, stdout=out, stderr=io.StringIO())
    return json.loads(out.getvalue().splitlines()[-1])


def test_document_of_the_specification_is_imported_and_exported(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text(SPECIFIED)
    assert run("check", str(file))["changes"] == {"order_defaults.max_slippage_pips": 3}
    assert not SettingsVersion.objects.exists()
    assert run("import", str(file), "--why", "The specification.")["version"] == 1
    assert settings_now().order_defaults.max_slippage_pips == 3
    file.write_text(json.dumps(run("export")))
    assert run("import", str(file), "--why", "Again.") == {"version": 1, "changes": {}}


def test_settings_are_set_shown_listed_and_restored() -> None:
    assert run("set", "execution.poll_seconds=1", "users.sign_up=off", "--why", "a") == {
        "version": 1, "changes": {"execution.poll_seconds": 1, "users.sign_up": "off"},
    }  # fmt: skip
    run("set", 'networks.broker_networks=["10.0.0.0/8"]', "--why", "b")
    shown = run("show")
    assert (shown["version"], shown["newest"], shown["faults"]) == (2, 2, [])
    assert shown["document"]["networks"]["broker_networks"] == ["10.0.0.0/8"]
    assert run("history") == {"versions": [2, 1]}
    assert run("restore", "1")["changes"] == {"networks.broker_networks": []}
    assert settings_now().networks.broker_networks == ()


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("set", "execution.poll_seconds=9", "x.y=1", "--why", "a"),
         r"(?s)execution\.poll_seconds.*from 1 to 5.*x: Unknown|from 1 to 5"),
        (("set", "poll_seconds", "--why", "a"), "PATH=VALUE"),
        (("import", "/nowhere.json", "--why", "a"), "cannot be read"),
        (("restore", "7"), "no version 7"),
    ],
)  # fmt: skip
def test_what_is_wrong_changes_nothing(arguments: tuple[str, ...], fault: str) -> None:
    with pytest.raises(CommandError, match=fault):
        run(*arguments)
    assert not SettingsVersion.objects.exists()


def test_version_of_a_command_has_no_user_but_its_reason() -> None:
    run("set", "execution.poll_seconds=1", "--why", "Night shift.")
    version = SettingsVersion.objects.get()
    assert (version.user_id, version.origin, version.why) == (None, "command", "Night shift.")
