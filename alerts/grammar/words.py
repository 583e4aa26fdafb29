"""Words that are refused by name, and what to write instead. Pure.

The advice to leave a word out is only for words without which the signal is the same.
"""

import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches

from alerts.grammar.levels import listed_pair
from alerts.grammar.lexicon import LEXICON, PHRASES, WORDS, Kind, Token, pattern, refused
from alerts.grammar.numbers import without_k
from alerts.grammar.reading import refusal, refused_by
from common.errors import InvalidInputError
from common.units import AssetClass
from signals.symbols import asset_class, is_asset, needs_currency

_FAMILIES: dict[str, list[str]] = LEXICON["turning"]
_TURNS = ("negation", "withdrawal", "past", "condition", "example")
_MARKS = re.compile('[?¿؟⁉❓❔"“”„«»>~<−]|\\u0336|\\u0335')
_MARKS_OF_NAMES = re.compile("[?¿؟⁉❓❔]")
_IDEOGRAPHS = re.compile(
    "不|没|沒|未|别|別|勿|莫|无|無|非|如果|若|取消|平仓|平倉|等|可能|测试|買|买|卖|賣|空|多"
)


def _pattern(*names: str) -> re.Pattern[str]:
    words = []
    for stem in (stem for name in names for stem in _FAMILIES[name]):
        plain = re.escape(stem.removesuffix(".")).replace(r"\\.", r"\\s+").replace(r"\.", r"\s+")
        before = "" if stem == "n't" else r"(?<!\w)"
        words.append(before + plain + (r"(?!\w)" if stem.endswith(".") else r"\w*"))
    return re.compile("|".join(words), re.IGNORECASE)


_TURNING = _pattern(*_TURNS)
_ANY = _pattern(*_TURNS, "trade")


def meaningful(phrase: str) -> str:
    """Return the first word or mark of a phrase that can change what a signal says; '' if none."""
    plain = phrase.replace("’", "'")
    for one in (_ANY, _MARKS, _IDEOGRAPHS):
        if found := one.search(plain):
            return found[0]
    return ""


def turning(word: str) -> str:
    """Return the word of a phrase that denies, doubts or withdraws; '' if there is none."""
    found = _TURNING.search(word.replace("’", "'").replace("_", " "))
    return found[0] if found else ""


_OF_REPORTS = _pattern("reports")
_OF_NAMES = _pattern("names")


def turning_in_name(name: str) -> str:
    """Return the word or mark of a strategy's name, or of a note, that denies, doubts, withdraws or
    reports; '' if there is none."""
    plain = _OF_NAMES.sub(" ", name.replace("_", " "))
    if word := turning(plain):
        return word
    found = _OF_REPORTS.search(plain) or _MARKS_OF_NAMES.search(plain)
    return found[0] if found else ""


def contradicting(kind: str) -> Callable[[str], str]:
    """Return what finds the words of a note that take its order back, make a close conditional, or
    name a part of the trade: taken_back, postponing, share. It returns '' if there are none."""
    words = pattern("notes", kind)
    return lambda note: found[0] if (found := words.search(note.replace("’", "'"))) else ""


_MEANINGS = {word: one for one in LEXICON["meanings"] for word in one["words"]}


def refuse_unclear_words(tokens: Iterable[Token]) -> None:
    """Raise InvalidInputError for a text with such a word."""
    for token in tokens:
        if token.kind is Kind.WORD and (error := unclear_word(token.text)):
            raise error


def unclear_word(text: str) -> InvalidInputError | None:
    """Return the error for a word with several meanings; None: it is none of them."""
    found = _MEANINGS.get(text.lower())
    if found is None:
        return None
    if found["readings"]:
        return refusal("word_with_meanings", *found["readings"], text=text, write=found["write"])
    return refusal("word_not_carried_out", subject=found["subject"], write=found["write"])


_WORDS = refused("options")
_DAYS = re.compile("[0-9]{1,3}dte", re.ASCII | re.IGNORECASE)  # to expiry
_CONTRACT = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:[Cc]|CE|PE|P)", re.ASCII)
_LABELS = (Kind.SL, Kind.STOP, Kind.TP)  # “SL 30P” are points
_KINDS = {"put", "ce", "pe"}  # behind a strike; else “put SL at BE”, or a share


def refuse_options(tokens: list[Token]) -> None:
    """Raise InvalidInputError for a text with a word of an option."""
    before = Token(Kind.LINE, "")
    for token in tokens:
        is_behind_strike = token.text.lower() in _KINDS and before.kind is Kind.NUMBER
        is_contract = _CONTRACT.fullmatch(token.text) and before.kind not in _LABELS
        if token.kind is Kind.WORD and (
            is_behind_strike
            or is_contract
            or token.text.lower() in _WORDS
            or _DAYS.fullmatch(token.text)
        ):
            raise refusal("option_contract", text=token.text)
        before = before if token.kind is Kind.MARK else token


WRITE = "Write it like “BUY EURUSD @ 1.0850 SL 1.0800 TP1 1.0900 TP2 1.0950”."
WRITE_UPDATE = "Write “close EURUSD”, “close half EURUSD” or “cancel EURUSD” about an open trade."
_VOCABULARY = sorted(WORDS)
_INSTRUCTIONS, _CHOICES, _FOREIGN = map(refused, ("instructions", "choices", "foreign"))
_LEAST_LETTERS, _LIKENESS = 4, 0.8  # of a typing error


def unknown_word(
    text: str, others: Iterable[str], *, has_symbol: bool, is_beside_side: bool
) -> InvalidInputError:
    """Return the error for a word that is not understood. others: all such words of the text.

    One that can turn the signal round is named first. has_symbol: whether the text has one.
    """
    if error := foreign_word(text) or refused_by("word", text):
        return error
    if price := without_k(text):
        return refusal("price_in_thousands", text=text, price=price)
    if turned := next((one for one in others if turning(one) and not _asset(one)), ""):
        return refusal("turning_word", turned=turned)
    if not has_symbol and (_asset(text) or (is_beside_side and not _meant(text))):
        return _symbol(text)
    if meant := _meant(text):
        return refusal("typing_error", text=text, meant=meant.upper())
    if text.lower() in _INSTRUCTIONS | _CHOICES:
        return _not_to_leave_out(text)
    if meaningful(text):
        return _not_to_leave_out(text)
    return refusal("unknown_word", text=text)


def _not_to_leave_out(text: str) -> InvalidInputError:
    return refusal(
        "not_to_leave_out",
        text=text,
        shown=WRITE_UPDATE if text.lower() in _INSTRUCTIONS else WRITE,
    )


def foreign_word(text: str) -> InvalidInputError | None:
    """Return the error for a word of another language for buying or selling; None: it is none."""
    if text.lower() not in _FOREIGN:
        return None
    return refusal("foreign_word", text=text)


def _meant(text: str) -> str:
    """Return the word of the vocabulary of which this is a typing error; '' if there is none."""
    word = text.lower()
    if len(word) < _LEAST_LETTERS or not word.isalpha():
        return ""
    if word in _VOCABULARY:  # only in a phrase: “take profit”
        return min((" ".join(one) for one in PHRASES if word in one), key=len)
    near = [one for one in _VOCABULARY if abs(len(one) - len(word)) <= 1]
    return next(iter(get_close_matches(word, near, n=1, cutoff=_LIKENESS)), "")


def _asset(text: str) -> str:
    """Return the name in capitals of what is traded: BTC, US30; '' for another word."""
    name = text.lstrip("#$").upper()
    return name if is_asset(name) or listed_pair(name) else ""


def _symbol(text: str) -> InvalidInputError:
    """Return the error for a word that is rather the symbol, in a form that is not read."""
    name = _asset(text)
    if (pair := listed_pair(name)) and not needs_currency(name):
        return refusal("symbol_or_word", text=text, pair=pair)
    if name:
        is_coin = asset_class(f"{name}/USD") is AssetClass.CRYPTO
        return refusal(
            "asset_without_currency",
            text=text,
            shown=f"Write the pair, like {name}/USDT."
            if is_coin
            else "Write the pair, like EUR/USD.",
        )
    return refusal("no_known_symbol", text=text)
