"""A cell of CSV is never a formula, however a spreadsheet parts the line."""

import pytest

from analytics.results.exports import csv_lines
from common.web.csv_text import inert


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("=1+1", "'=1+1"), ("@SUM(A1)", "'@SUM(A1)"), ("-1+1", "'-1+1"), ("\t=1", "'\t'=1"),
        ("\n=1", "'\n'=1"), ("＝1+1", "'＝1+1"), ("＠x", "'＠x"), ("＋1", "'＋1"), ("－1", "'－1"),
        ('Gold;=HYPERLINK("https://evil.example")', "Gold;'=HYPERLINK(\"https://evil.example\")"),
        ('Gold;"=1+1', "Gold;\"'=1+1"), ("Gold\n=1+1", "Gold\n'=1+1"), ("Gold\r-1", "Gold\r'-1"),
        ("Gold; up - a = b", "Gold; up - a = b"), ("a@b.example", "a@b.example"), ("", ""),
        ("1.10-1.20", "1.10-1.20"), ("Ａ＝Ｂ", "Ａ＝Ｂ"),
    ],
)  # fmt: skip
def test_formulas_are_texts(text: str, expected: str) -> None:
    assert inert(text) == expected


def test_name_that_a_provider_chose_is_no_formula_in_a_followers_file() -> None:
    """Where the decimal sign is a comma, a semicolon parts the cells."""
    (line,) = csv_lines([["Gold;=1+1", "x"]])
    assert not any(cell.startswith("=") for cell in line.split(";"))
