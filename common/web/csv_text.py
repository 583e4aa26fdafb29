"""Texts in CSV that a spreadsheet must not run as formulas."""

import re

# Also the wide forms, which spreadsheets in East Asian languages read as the narrow ones.
_STARTS = "=+@＝＋－＠-"
# A semicolon begins a cell where the decimal sign is a comma, and a quote may follow it; a line
# break begins one as well, since quotes count at the beginning of a cell only.
_BEGIN_OF_FORMULA = re.compile(rf'^(?=[\t\r\n])|(?:^|[;\t\r\n]"?)(?=[{_STARTS}])')


def inert(text: str) -> str:
    """Return the text with an apostrophe in front of whatever a spreadsheet takes for a formula."""
    return _BEGIN_OF_FORMULA.sub(lambda found: f"{found[0]}'", text)
