"""The examples of docs/sizing.md, section 4: what is sent, and the figures of what is denied."""

import re
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest

from common.money import plain
from execution.submission.outcomes import Intent
from execution.submission.risk import PortfolioExposure
from execution.submission.sizing import Denial
from tests.execution.submission.entry_inputs import decide, quote_row

PAGE = Path(__file__).parents[3] / "docs" / "sizing.md"
ROW = re.compile(
    r"^\| `(\w+)` \| (.*) \| (.*) \| (.*value ([\d.]+), maximum ([\d.]+)) \|$", re.MULTILINE
)
STOP = {"sl": D("1.09")}
# By code: what the preset, the account and the market have. Quantities: sent, and denied.
EXAMPLES: dict[str, dict[str, Any]] = {
    "MAX_QUANTITY": {"order": {"max_quantity": D(10_000)}},
    "MAX_OPEN_POSITIONS": {"order": {"max_open_positions": 3}},
    "MAX_LEVERAGE": {"order": {"max_leverage": D(5)}, "exposure": {"notional": D(39_000)}},
    "MARGIN": {
        "order": {"leverage": D(20), "free_margin": D(1000)},
        "exposure": {"margin_in_flight": D(450)},
    },
    "TRADE_RISK": {"order": {"max_trade_risk_percent": D(1)}, "signal": STOP},
    "PORTFOLIO_RISK": {
        "order": {"max_portfolio_risk_percent": D(5)}, "signal": STOP,
        "exposure": {"risk": D(400)},
    },
    "SLIPPAGE_LIMIT": {
        "order": {"max_slippage_pips": D(3)}, "signal": {"open_price": D("1.0997")},
    },
}  # fmt: skip
# What differs between the two entries, if not their quantity.
SENT: dict[str, dict[str, Any]] = {
    "MAX_OPEN_POSITIONS": {"exposure": {"positions": 2}},
    "SLIPPAGE_LIMIT": {"quote": quote_row("1.0999", "1.1")},
}
DENIED: dict[str, dict[str, Any]] = {
    "MAX_OPEN_POSITIONS": {"exposure": {"positions": 3}},
    "SLIPPAGE_LIMIT": {"quote": quote_row("1.0999", "1.10001")},
}


def documented() -> dict[str, tuple[str, ...]]:
    """Return the rows of the table by code: setting, sent, denied, value, maximum."""
    section = PAGE.read_text().partition("## 4. Limits")[2].partition("### ")[0]
    return {code: tuple(rest) for code, *rest in ROW.findall(section)}


def decided(code: str, quantity: D, differs: dict[str, Any]) -> Any:
    case = {**EXAMPLES[code], **differs}
    order = {"fixed_quantity": quantity, "free_margin": D(10**6), **case.pop("order")}
    exposure = PortfolioExposure(**case.pop("exposure", {}))
    return decide(order={"leverage": D(100), **order}, exposure=exposure, **case)


def test_every_code_of_the_section_has_an_example() -> None:
    section = PAGE.read_text().partition("## 4. Limits")[2].partition("\nA position")[0]
    codes = {*re.findall(r"^\| `([A-Z_]+)` \|", section, re.MULTILINE), "SLIPPAGE_LIMIT"}
    assert codes == set(documented()) == set(EXAMPLES)


@pytest.mark.parametrize("code", EXAMPLES)
def test_example_is_sent_and_denied_as_documented(code: str) -> None:
    setting, sent, denied, value, maximum = documented()[code]
    by_quantity = code not in SENT
    first, second = (
        D(match.group().replace(",", "")) if by_quantity and match else D(100)
        for match in (re.match(r"[\d,]+\d", sent), re.match(r"[\d,]+\d", denied))
    )
    assert (first, second) == ((D(10_000), D(10_010)) if by_quantity else (D(100), D(100)))
    assert isinstance(decided(code, first, SENT.get(code, {})), Intent), setting
    found = decided(code, second, DENIED.get(code, {}))
    assert isinstance(found, Denial)
    assert found.code == code
    assert (plain(found.value), plain(found.maximum)) == (value, maximum)
