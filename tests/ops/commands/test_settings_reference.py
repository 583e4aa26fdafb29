"""docs/settings.md and .env.example hold every setting."""

from config.env import VARIABLES
from ops.management.commands.settings_reference import example, reference


def test_every_setting_is_in_both() -> None:
    for setting in VARIABLES:
        assert f"| `{setting.name}` |" in reference()
        assert f"\n#{setting.name}={setting.default}\n" in example()


def test_a_name_stands_once() -> None:
    names = [setting.name for setting in VARIABLES]
    assert len(names) == len(set(names))
