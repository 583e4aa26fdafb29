"""docs/settings.md and .env.example list every setting."""

from config.env import VARIABLES
from ops.management.commands.settings_reference import example, reference


def test_every_setting_is_in_page_and_example() -> None:
    for setting in VARIABLES:
        assert f"| `{setting.name}` |" in reference()
        assert f"\n#{setting.name}={setting.default}\n" in example()


def test_every_setting_is_listed_once() -> None:
    names = [setting.name for setting in VARIABLES]
    assert len(names) == len(set(names))
