"""Every reason code of the table can come out of the product."""

import re
from functools import cache

from common.codes import Code
from config.development import ROOT

APPS = (
    "analytics", "api", "brokers", "common", "config", "connections", "events", "execution",
    "portal", "positions", "prices", "signals", "users",
)  # fmt: skip
TABLE = ROOT / "common" / "codes.py"
# Explaining a code is no use of it.
EXPLANATIONS = {
    ROOT / "portal" / "words.py", ROOT / "events" / "words.py",
    ROOT / "config" / "console" / "machines.py",
}  # fmt: skip
NOT_YET = {"PRICE_WRONG_SIDE"}  # take it out as soon as it is used


@cache
def product() -> str:
    found = {path for app in APPS for path in (ROOT / app).rglob("*.py")}
    assert TABLE in found
    assert found > EXPLANATIONS
    return "\n".join(path.read_text() for path in sorted(found - EXPLANATIONS - {TABLE}))


def is_used(name: str) -> bool:
    """Whether the code stands in the source, or as a text in its SQL."""
    return re.search(rf"\bCode\.{name}\b|'{name}'", product()) is not None


def test_every_reason_code_is_used_by_the_product() -> None:
    assert {code.name for code in Code if not is_used(code.name)} - NOT_YET == set()
