"""No page and no text shows money with fixed decimals: yen have none, coins have eight."""

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from common.web import formatting

ROOT = Path(__file__).parents[2]
APPS = ("alerts", "analytics", "common", "connections", "console", "demo", "events", "execution",
        "portal", "positions", "signals", "users")  # fmt: skip
# What is shown with two decimals, and is no money.
NO_MONEY = re.compile(
    r"percent|bps|factor|calculated|\bs?lippage|in_r\b|_r\b|\br\b|real_(median|low|high|compared)"
    r"|\* 100|HUNDRED",
    re.IGNORECASE,
)
IN_TEMPLATE = re.compile(
    r"\{[{%][^}]*?\b([\w.]+)\|(?:num:2|signed(?!:[^2])|floatformat)[^}]*[}%]\}"
)
IN_CODE = re.compile(
    r"\bnumber\([^()]*(?:\([^()]*\)[^()]*)*, ?2\)|\bsigned\((?![^()]*, ?(?:None|1)\))[^)]*\)"
    r"|:,?\.2f\}"
)
DRAWN = {"charts.py"}  # coordinates of drawings
ITSELF = {
    "common/web/formatting.py",
    "common/templatetags/fillcast.py",
    "portal/templatetags/portal.py",
}


def found(pattern: str, shown: re.Pattern[str]) -> Iterator[str]:
    """Yield the places that show a number with fixed decimals, and are not known as no money."""
    for app in APPS:
        for path in (ROOT / app).rglob(pattern):
            name = str(path.relative_to(ROOT))
            if name in ITSELF or path.name in DRAWN or "migrations" in name:
                continue
            for number, line in enumerate(path.read_text().splitlines(), start=1):
                for one in shown.finditer(line):
                    if not NO_MONEY.search(one.group()):
                        yield f"{name}:{number}: {one.group()}"


def test_templates_show_money_with_the_decimals_of_its_currency() -> None:
    assert list(found("*.html", IN_TEMPLATE)) == []


def test_texts_show_money_with_the_decimals_of_its_currency() -> None:
    assert list(found("*.py", IN_CODE)) == []


@pytest.mark.parametrize(
    "line",
    [
        "{{ snapshot.equity|num:2 }}",
        "{{ net|signed }}",
        "{{ fill.swap|signed:2 }}",
        "{{ total|floatformat:2 }}",
        '{% include "two.html" with live=a.costs|num:2 %}',
    ],
)
def test_template_with_fixed_decimals_is_found(line: str) -> None:
    assert IN_TEMPLATE.search(line)


@pytest.mark.parametrize(
    "line",
    [
        "number(abs(result), 2)",
        "f'{signed(position.unrealized_pnl)} {currency}'",
        "f'{amount:,.2f} {currency}'",
    ],
)
def test_text_with_fixed_decimals_is_found(line: str) -> None:
    assert IN_CODE.search(line)


@pytest.mark.parametrize(
    ("currency", "amount", "gain"),
    [
        ("JPY", "1,235 JPY", "−1,235 JPY"),
        ("USD", "1,234.57 USD", "−1,234.57 USD"),
        ("KWD", "1,234.568 KWD", "−1,234.568 KWD"),
        ("BTC", "1,234.56780000 BTC", "−1,234.56780000 BTC"),
        ("", "1,234.57", "−1,234.57"),
    ],
)
def test_amounts_have_the_decimals_of_their_currency(currency: str, amount: str, gain: str) -> None:
    value = Decimal("1234.5678")
    assert formatting.amount(value, currency) == amount
    assert formatting.gain_amount(-value, currency) == gain
    assert formatting.amount(None, currency) == formatting.gain_amount(None, currency) == ""
