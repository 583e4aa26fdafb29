"""TradingView's default sentence of a strategy's alert. Pure.

`MACD Cross (12, 26): order buy @ 1 filled on EURUSD. New strategy position is 1`: the number after
the side is a quantity, and the position that follows distinguishes entry, exit and reversal.
"""

import re
from decimal import Decimal

from alerts.grammar.mapping import AlertMapping
from alerts.grammar.reading import Dialect, Note, Reading, refusal
from alerts.grammar.words import turning_in_name

_NUMBER = r"[0-9]{1,20}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,2})?"
_SENTENCE = re.compile(
    rf"(?:(?P<name>[^\n]{{0,300}}?)\s*:\s*)?order (?P<side>buy|sell) @ (?P<size>{_NUMBER}) "
    rf"filled on (?P<symbol>[A-Za-z0-9_:/!.-]{{1,60}}?)\. ?"
    rf"New strategy position is (?P<after>-?{_NUMBER})\.?"
    r"(?:\s+(?P<time>[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{5,15}Z))?",
    re.ASCII | re.IGNORECASE,
)
_MARK = re.compile(r"\border\s+\S+\s+@", re.IGNORECASE)
WRITE = (
    "Leave TradingView's message as it is, or use the template of a strategy "
    "(docs/tradingview.md#a-strategy)."
)


def is_sentence(text: str) -> bool:
    """Whether a text is meant as this sentence, even if a part of it is wrong."""
    lower = text.lower()
    return "strategy position" in lower or ("filled on" in lower and bool(_MARK.search(text)))


def read_sentence(text: str, mapping: AlertMapping) -> Reading:
    """Return the order of a strategy. Raises InvalidInputError ALERT_NOT_UNDERSTOOD."""
    if "{{" in text:
        raise refusal("placeholder_of_sentence")
    match = _SENTENCE.fullmatch(text.strip())
    if match is None or len(_MARK.findall(text)) != 1:
        raise refusal("no_sentence")
    # A strategy has any name; these words before the sentence are rather a person's about it.
    if word := turning_in_name(match["name"] or ""):
        raise refusal("word_before_sentence", word=word)
    if not Decimal(match["size"]):
        raise refusal("order_of_nothing")
    document = {
        "ticker": mapping.symbol_of(match["symbol"]),
        "action": match["side"].lower(),
        "contracts": match["size"],
        "position_size": match["after"],
    }
    if match["time"]:
        document["timenow"] = match["time"]
    if name := (match["name"] or "").strip():
        document["comment"] = "".join(filter(str.isprintable, name))
    reason = "the strategy's own quantity shows how it was meant"
    notes = [Note(f"@ {match['size']}", reason, explains=True)]
    if not match["time"]:
        reason = "an equal message within 5 minutes counts as the same one; end it with {{timenow}}"
        notes.append(Note("no time", reason, explains=True))
    return Reading(Dialect.STRATEGY_SENTENCE, document, notes=tuple(notes), needs_time=False)
