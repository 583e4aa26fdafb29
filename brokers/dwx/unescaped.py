"""Texts of others that the expert advisor puts into its JSON as they are. Pure.

A comment, a symbol or an account's name may have quotation marks and backslashes: then the file is
no JSON, or worse, it is JSON that says something else (`", "lots": 9, "x": "` in a comment). The
order of the fields is the expert advisor's, a comment is the last one, and no comment of a broker
is long enough to look like a whole record: so it is certain where each text ends.
"""

import json
import re
from itertools import pairwise

TEXT_LENGTH = 31  # of a comment, at MetaTrader 4 and 5
_RECORD = re.compile(
    r'(?:(?<=^\{)|(?<="orders": \{)|(?<="\}, ))(?="\d+": \{(?:"magic": -?\d+, "symbol": "'
    r'|"type": "[A-Z]+", "time": "))'
)
_PRICES = re.compile(r'((?:^\{|\}, )")(.+?)(": \{"bid": )')
_FIELDS = (
    re.compile(r'("name": ")(.*?)(", "number": )', re.DOTALL),
    re.compile(r'("currency": ")(.*?)(", "leverage": )', re.DOTALL),
    re.compile(r'("symbol": ")(.*?)(", "lots": )', re.DOTALL),
    re.compile(r'("(?:comment|description|message)": ")(.*)("\})', re.DOTALL),
)
_ONCE = ('"balance":', '"equity":', '"free_margin":', '"leverage":')  # of the account
_IN_EACH = ('"magic":', '"lots":')  # of the records, as a comment is
_AT_MOST = (
    '"symbol":', '"type":', '"open_price":', '"SL":', '"TP":', '"commission":', '"swap":',
    '"entry":', '"deal_price":', '"close_price":',
)  # fmt: skip


_NO_NUMBER = re.compile(
    r'(?<=[^\\]": )[+-]?(?:nan(?:\(\w*\))?|inf(?:inity)?|1\.#[A-Z]+[0-9]*)(?= *[,}])', re.IGNORECASE
)
"""A double that is no number, as MetaTrader's builds write it: -nan(ind), inf, -1.#IND."""


def without_no_numbers(text: str) -> str:
    """Return a file's text with null in place of each double that is no number: each of them makes
    the whole file unreadable."""
    return _NO_NUMBER.sub("null", text)


def says_more(text: str) -> bool:
    """Whether a file has more fields of a name than records: a text of others looks like one."""
    records = text.count('"comment":')
    return (
        any(text.count(name) > 1 for name in _ONCE)
        or any(text.count(name) != records for name in _IN_EACH)
        or any(text.count(name) > records for name in _AT_MOST if records)
    )


def escaped(text: str) -> str:
    """Return a file's text with the texts of others escaped."""
    text = text.strip()
    cuts = [0, *(found.start() for found in _RECORD.finditer(text)), len(text)]
    parts = [text[begin:end] for begin, end in pairwise(cuts)]
    for field in _FIELDS:
        parts = [field.sub(_escaped_text, part, count=1) for part in parts]
    return _PRICES.sub(_escaped_text, "".join(parts))


def _escaped_text(found: "re.Match[str]") -> str:
    return found[1] + json.dumps(found[2], ensure_ascii=False)[1:-1] + found[3]
