"""Lines around a signal that change nothing: a disclaimer, a link, the channel's name. Pure.

The list is closed, and each entry must be a whole line: a sentence that is not in it is refused.
"""

import re

from signals.alert_dialects.reading import Note, excerpt

_LEAD = (
    r"(?:(?:join|follow|channel|chart|link|website|telegram|contact|admin|source|support|by)"
    r"(?: us| our channel| here)?[ \t]*[:-]?[ \t]*)?"
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
    r"|trade (?:at|on|with) your own risk|trade safe(?:ly)?|stay safe|happy trading"
    r"|good luck(?: (?:all|everyone|traders|guys))?"
    r"|(?:always )?(?:use|apply|follow)? ?(?:a |your )?(?:proper|good|strict)? ?"
    r"(?:risk|money) management(?: is key| always)?"
    r"|manage your risk(?: properly| well)?|(?:always )?use (?:a )?(?:stop loss|sl)"
    r"|use (?:a )?(?:proper|small|low) (?:lot size|lots|leverage)"
    r"|(?:high|medium|low) risk(?: trade)?"
    rf"|(?:never|don't|do not) risk more than {_PERCENT}{_OWNED}"
    rf"|risk (?:only )?{_PERCENT}{_OWNED}",
    re.IGNORECASE,
)


def without_signature(text: str) -> tuple[str, tuple[Note, ...]]:
    """Return a readable text without the lines that change nothing, and what they were."""
    lines, notes = [], []
    for line in text.split("\n"):
        words = line.strip(" \t.!-*|")
        if words and _changes_nothing(words):
            notes.append(Note(excerpt(words), "a line that changes nothing"))
        else:
            lines.append(line)
    return "\n".join(lines), tuple(notes)


def _changes_nothing(words: str) -> bool:
    if _LINK.fullmatch(words) or _DISCLAIMER.fullmatch(words):
        return True
    mention = _MENTION.fullmatch(words)
    return mention is not None and not _PRICES.match(mention["name"])
