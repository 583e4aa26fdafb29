"""Lines around a signal that change nothing: a disclaimer, a link, an exchange, a size. Pure.

The list is closed, and each entry must be a whole line: a sentence that is not in it is refused.
"""

import re

from alerts.grammar.reading import SIZING, Note, excerpt

_LEAD = (
    r"(?:(?:join|follow|channel|chart|link|website|telegram|contact|admin|source|support"
    r"|(?:published |posted |signal )?by)"
    r"(?: us| here|(?: our)?(?: free| vip| premium)?(?: channel| group)?)(?: now)?"
    r"[ \t]*[:-]?[ \t]*)?"
)
_LINK = re.compile(rf"{_LEAD}(?:https?://|www\.|t\.me/)[^\s,;]+", re.IGNORECASE)
_MENTION = re.compile(rf"{_LEAD}@(?P<name>[A-Za-z][A-Za-z0-9_]{{3,31}})", re.IGNORECASE)
# An entry “@ market” is no channel.
_PRICES = re.compile("market|current|price|cmp|open|close|entry|limit|stop|now", re.IGNORECASE)
_PERCENT = r"[0-9]{1,2}(?:\.[0-9]{1,2})?(?:-[0-9]{1,2}(?:\.[0-9]{1,2})?)? ?%"
_OWNED = r"(?: of (?:your |the )?(?:account|balance|capital|equity|portfolio))?(?: per trade)?"
_DISCLAIMER = re.compile(
    r"(?:this is |it is )?(?:not|no) (?:financial|investment) advice"
    r"|(?:nfa|dyor)(?:[ ,/&-]+(?:nfa|dyor))?|do your own research"
    r"|(?:trade|enter) (?:at|on|with) your own risk|trade safe(?:ly)?|stay safe|happy trading"
    r"|good luck(?: (?:all|everyone|traders|guys))?"
    r"|(?:always )?(?:use|apply|follow)? ?(?:a |your )?(?:proper|good|strict)? ?"
    r"(?:risk|money) management(?: is key| always)?"
    r"|manage your risk(?: properly| well)?|(?:always )?use (?:a )?(?:stop loss|sl)"
    r"|(?:use )?(?:a )?(?:proper|small|low) (?:lot size|lots?|leverage)"
    r"|(?:very )?(?:high|medium|low) risk(?: trade)?|(?:very )?risky(?: trade)?"
    r"|(?:only )?for education(?:al)?(?: purposes?)?(?: only)?"
    rf"|(?:never|don't|do not) risk more than {_PERCENT}{_OWNED}"
    rf"|(?:max(?:imum)? )?risk (?:only |max(?:imum)? )?{_PERCENT}{_OWNED}(?: (?:only|max))?",
    re.IGNORECASE,
)


_WARNING = re.compile(r"\A(?:risk )?(?:disclaimer|warning)[ \t]*[:-][ \t]*", re.IGNORECASE)
_SENTENCE_END = re.compile(r"(?<![.!;|])[.!;|]+(?=[ \t]|\Z)")  # a run from its beginning only
_SIZE = re.compile(
    rf"(?:amount(?: per trade)?|capital(?: invested)?|invest(?: up to)?|position size"
    rf"|risk(?: management| per trade)?|rm|use)[ \t]*[:-]?[ \t]*{_PERCENT}(?: risk| max)?{_OWNED}",
    re.IGNORECASE,
)
_VENUE = (
    r"(?:binance|by ?bit|okx|ku ?coin|bitget|bing ?x|mexc|gate(?:\.io)?|huobi|htx|kraken|coinbase"
    r"|bitmex|phemex|deribit|oanda)(?: (?:futures|spot|perpetual|swap|usdt|usdt-m|usd-m|coin-m"
    r"|margin|global))*"
)
_VENUES = re.compile(
    rf"(?:recommended )?exchanges?[ \t]*[:-][ \t]*{_VENUE}(?:[ \t]*[,/&][ \t]*{_VENUE})*",
    re.IGNORECASE,
)
_CONFIDENCE = re.compile(
    r"(?:confidence|signal strength)[ \t]*[:-]?[ \t]*[0-9]{1,3}[ \t]?(?:%|/[ \t]?10{1,2})",
    re.IGNORECASE,
)
_CONFIDENCE_BEHIND = re.compile(
    r"(?<=[0-9A-Za-z%)])[ \t,;|-]+(?:confidence|signal strength)[ \t]*[:-]?[ \t]*"
    r"[0-9]{1,3}[ \t]?%[ \t]*\Z",
    re.IGNORECASE,
)
_ADVICE_BEHIND = re.compile(
    r"(?<=[0-9)])[ \t,;|.-]+(?:nfa|dyor)(?:[ ,/&-]+(?:nfa|dyor))?[ \t.!]*\Z", re.IGNORECASE
)
# A call of the members of a chat. “@here” can be where an entry is.
_CALL = re.compile(r"\A[ \t]*(?:@everyone\b|<@[!&]?[0-9]{5,20}>)[ \t]*", re.IGNORECASE)
_RULE = re.compile("[_=~]{3,}")


def without_signature(text: str) -> tuple[str, tuple[Note, ...]]:
    """Return a readable text without the lines that change nothing, and what they were."""
    lines, notes = [], []
    for line in _CALL.sub("", text).split("\n"):
        if confidence := _CONFIDENCE_BEHIND.search(line):
            line = line[: confidence.start()]
            notes.append(Note(excerpt(confidence[0].strip(" \t,;|-")), "it describes"))
        if advice := _ADVICE_BEHIND.search(line):
            line = line[: advice.start()]
            notes.append(Note(excerpt(advice[0].strip(" \t,;|.-!")), "it changes nothing"))
        words = line.strip(" \t.!-*|")
        if reason := _reason(words):
            notes.append(Note(excerpt(words), reason))
        elif not _RULE.fullmatch(words):
            lines.append(line)
    return "\n".join(lines), tuple(notes)


def _reason(words: str) -> str:
    """Return why a line has no effect; '' if it may have one."""
    if _SIZE.fullmatch(words):
        return SIZING
    if _VENUES.fullmatch(words):
        return "accounts choose where they trade"
    mention = _MENTION.fullmatch(words)
    is_channel = mention is not None and not _PRICES.match(mention["name"])
    known = (_LINK, _CONFIDENCE)
    sentences = [one.strip(" \t") for one in _SENTENCE_END.split(_WARNING.sub("", words))]
    is_disclaimer = bool(sentences) and all(map(_DISCLAIMER.fullmatch, filter(None, sentences)))
    is_disclaimer &= any(sentences)
    if is_channel or is_disclaimer or any(pattern.fullmatch(words) for pattern in known):
        return "a line that changes nothing"
    return ""
