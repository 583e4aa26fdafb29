"""What worker_settings prints of the source of settings: no secret in production, and no file."""

import pytest

from common.operational.reading import KEYS
from ops.management.commands import worker_settings

JSON_WITH_SECRET = '{"watchdog": {"ping_url": "https://hc.example/canary"}}'


@pytest.mark.parametrize(
    ("source", "env", "is_printed"),
    [
        (JSON_WITH_SECRET, "development", True),
        (JSON_WITH_SECRET, "production", False),
        ('{"watchdog": {"ping_url": null}, "execution": {}}', "production", True),
        ("https://settings.example/a.json#ed25519=x", "production", True),
        ("https://user:canary@settings.example/a.json", "production", False),
        ("https://settings.example/a.json?key=canary", "production", False),
        ("/etc/fillcast/settings.json", "production", False),
        ("/etc/fillcast/settings.json", "development", False),
    ],
)
def test_source_of_settings_is_printed_if_it_is_no_secret_and_no_file(
    source: str, env: str, is_printed: bool
) -> None:
    """A file of this machine is none of the worker's."""
    line = worker_settings.source_line(source, in_production=env == "production")
    if is_printed:
        assert line == f"FILLCAST_SETTINGS_SOURCE={source}"
    else:
        assert line.startswith("# FILLCAST_SETTINGS_SOURCE")
        assert "canary" not in line
        assert "\n" not in line


def test_secret_settings_exist() -> None:
    assert set(worker_settings.SECRET_SETTINGS) <= set(KEYS)
