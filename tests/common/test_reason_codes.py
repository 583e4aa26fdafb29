"""Every reason code of the table can come out of the product."""

import re

from common.reason_codes import Code
from config.installation import ROOT

APPS = (
    "alerts", "analytics", "api", "brokers", "buses", "common", "config", "conformance",
    "connections", "console", "demo", "events", "execution", "ops", "portal", "positions", "prices",
    "signals", "users",
)  # fmt: skip
TABLE = ROOT / "common" / "reason_codes.py"
# Explaining a code is no use of it.
EXPLANATIONS = {
    ROOT / "analytics" / "orders" / "explanations.py", ROOT / "events" / "messages" / "orders.py",
    ROOT / "console" / "queries" / "system_status.py",
}  # fmt: skip


def used_names() -> set[str]:
    """What stands in the source as a code, or as a text in its SQL."""
    found = {path for app in APPS for path in (ROOT / app).rglob("*.py")}
    assert TABLE in found
    assert found > EXPLANATIONS
    sources = [path.read_text() for path in found - EXPLANATIONS - {TABLE}]
    pattern = re.compile(r"\bCode\.([A-Z_]+)\b|'([A-Z_]+)'")
    return {name for source in sources for pair in pattern.findall(source) for name in pair}


def test_every_reason_code_is_used_by_the_product() -> None:
    assert {code.name for code in Code} - used_names() == set()
