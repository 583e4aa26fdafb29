"""The documentation's tables name the broker types, credentials and settings that there are."""

import re
from pathlib import Path

import pytest

from brokers.connection_form import COMMON
from brokers.registry import BUILT_IN, form_of

ROOT = Path(__file__).parents[2]
OURS = {kind for kind, path in BUILT_IN.items() if path.startswith("brokers.")}  # no fakes
COMMON_KEYS = {setting.key for setting in COMMON}
SETTING_TABLES = [
    ("crypto", "docs/crypto.md"),
    ("ibkr", "brokers/ibkr/README.md"),
    ("mt4", "docs/metatrader4.md"),
    ("mt5", "docs/metatrader5.md"),
]


def table(path: str, head: str) -> list[list[str]]:
    """Return the cells of the table whose first head is `head`, row by row."""
    lines = iter((ROOT / path).read_text().splitlines())
    assert any(line.startswith(f"| {head} |") for line in lines), f"{path} has no table {head}"
    next(lines)
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return rows


def names(cell: str) -> set[str]:
    return set(re.findall(r"`([a-z_0-9-]+)`", cell))


def test_first_hour_names_every_broker_type_with_its_credentials() -> None:
    rows = {row[0].strip("`"): row for row in table("docs/first-hour.md", "broker type (`type`)")}
    assert set(rows) == OURS
    for kind, (_kind, _account, credentials, _more) in rows.items():
        documented = (kind, names(credentials))
        assert documented == (kind, {secret.key for secret in form_of(kind).secrets})


def test_first_hour_names_the_settings_that_a_broker_type_needs() -> None:
    for kind, _account, _credentials, more in table("docs/first-hour.md", "broker type (`type`)"):
        form = form_of(kind.strip("`"))
        needed = {setting.key for setting in form.settings if setting.required}
        assert (kind, needed - names(more)) == (kind, set())
        known = {setting.key for setting in form.settings}
        settings = re.search(r"settings? ([^;(]*)", more)
        documented = names(settings[1]) if settings else set()
        assert (kind, documented - known) == (kind, set())


@pytest.mark.parametrize(("kind", "path"), SETTING_TABLES)
def test_table_of_settings_has_those_of_the_form(kind: str, path: str) -> None:
    documented = {row[0].strip("`") for row in table(path, "setting")}
    assert documented - COMMON_KEYS == {setting.key for setting in form_of(kind).settings}
