"""manage.py alerts_reference: docs/alerts-reference.md, from the grammar of alerts."""

import sys
from collections.abc import Iterable, Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from alerts.forms.fields import TABLE
from alerts.grammar.lexicon import BOUNDS, LEXICON
from config.installation import ROOT

PAGE = ROOT / "docs" / "alerts-reference.md"
GRAMMAR = ROOT / "alerts" / "grammar"
_LANGUAGES = {"en": "English", "es": "Spanish", "pt": "Portuguese", "de": "German",
              "fr": "French", "it": "Italian"}  # fmt: skip
_EMOJI = {
    "signs": "change nothing", "shapes": "change nothing", "arrows": "change nothing",
    "tones": "change nothing", "up": "point up; refused beside a sell",
    "down": "point down; refused beside a buy", "green": "point up, but not before a level",
    "red": "point down, but not before a level",
    "reached": "mark a level that they stand before; elsewhere refused",
    "crosses": "mark SL; elsewhere refused", "forbidding": "refused",
}  # fmt: skip


def reference() -> str:
    """Return the page."""
    lines = [
        "# Alerts: words, keys and grammar", "",
        "`manage.py alerts_reference` writes this page from `alerts/grammar/` and `alerts/forms/`.",
        "What to paste is in [Alerts](alerts.md).", "",
        "A text is cut into words. Each word has one kind, by the list below; a word without one",
        "is refused. Rules say which kinds follow each other. At each place the first rule that",
        "fits is taken; where none fits, the text is refused.", "", "## Words", "",
        *_table(("language", "kind", "words"), _words()), "", "## Emoji", "",
        *_table(("emoji", "what they do"), _emoji()), "", "## Words that are refused by name", "",
        *_table(("words", "why"), _refused()), "",
        "## How far levels may be from the price of the entry", "",
        "In percent of the lower of the two prices; more under [Levels](alerts.md#levels).", "",
        *_table(("symbol", "stop", "target", "stop, target with one decimal or none"), _bounds()),
        "", "A symbol below or above these prices is refused: the number is rather a distance.", "",
        *_table(("symbol", "above", "below"), _prices()), "",
        *_forms(), *_rules("Entries", "entry"), *_rules("Updates", "update"),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield "|" + "---|" * len(heads)
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


def _words() -> Iterator[tuple[str, ...]]:
    for language, kinds in LEXICON["words"].items():
        for kind, phrases in kinds.items():
            yield _LANGUAGES[language], kind.upper(), ", ".join(phrases)


def _emoji() -> Iterator[tuple[str, ...]]:
    for name, letters in LEXICON["emoji"].items():
        yield " ".join(letters), _EMOJI[name]


def _refused() -> Iterator[tuple[str, ...]]:
    for one in LEXICON["meanings"]:
        why = "; or ".join(one["readings"]) or one["subject"]
        yield ", ".join(one["words"]), f"{why}. {one['write']}".replace("..", ".")
    groups = {
        "instructions": "an instruction about an open trade, which is written “close” or “cancel”",
        "choices": "a choice or a second order, of which one would be lost",
        "foreign": "a word for buying or selling, which the feed's mapping can set",
        "options": "a word about options, which no broker is sent",
    }
    for name, why in groups.items():
        yield ", ".join(LEXICON["refused"][name]), why


def _bounds() -> Iterator[tuple[str, ...]]:
    for name, one in BOUNDS["classes"].items():
        whole = f"{one['round_stop']} %, {one['round_target']} %"
        yield BOUNDS["names"][name], f"{one['stop']} %", f"{one['target']} %", whole


def _prices() -> Iterator[tuple[str, ...]]:
    for name, (low, *most) in BOUNDS["prices"].items():
        yield name, str(low), str(most[0]) if most else "–"


_UNITS = {
    "PRICE": "a price", "PIPS": "in pips", "PERCENT": "in percent", "AMOUNT": "an amount",
    "ANY": "pips or a price, by its size or the feed's mapping", "AT": "a price behind @",
}  # fmt: skip


def _forms() -> Iterator[str]:
    yield from ("## Keys of commands and objects", "")
    yield from (
        "A key that is in no table of its form is refused by its name. REVERSE closes the other",
        "side and opens; what ORDER does, the position beside it says.", "",
    )  # fmt: skip
    for form in TABLE.values():
        if "fields" in form:
            yield from (f"### {form['title']}", "")
            yield from _table(("key", "what it is"), _keys(form))
            yield ""
            if rows := list(_commands(form)):
                yield from (*_table(("word", "what it does"), rows), "")


def _keys(form: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    meanings: dict[str, list[str]] = {}
    for key, text in form["fields"].items():
        name, *unit = text.split()
        shown = f"{name}, {_UNITS[unit[0]]}" if unit else name
        meanings.setdefault("the same field of ours" if name == "OWN" else shown, []).append(key)
    for key in (*form.get("shares", ()), *form.get("scales", ())):
        meanings.setdefault("a size, without effect", []).append(key)
    for key, reason in form.get("ignored", {}).items():
        meanings.setdefault(f"no effect: {reason}".removesuffix(": "), []).append(key)
    for meaning, keys in meanings.items():
        yield ", ".join(f"`{key}`" for key in keys), meaning


def _commands(form: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    meanings: dict[str, list[str]] = {}
    for word, text in form.get("commands", {}).items():
        meanings.setdefault(text.removesuffix(" BARE"), []).append(word)
    for one in form.get("refused", ()):
        meanings.setdefault(f"refused. {one['write']}", []).extend(one["words"])
    for one in form.get("unclear", ()):
        meanings[f"refused: {', or '.join(one['readings'])}. {one['write']}"] = [one["word"]]
    for meaning, words in meanings.items():
        yield ", ".join(f"`{word}`" for word in words), meaning


def _rules(title: str, name: str) -> Iterator[str]:
    text = (GRAMMAR / f"{name}.grammar").read_text("utf-8")
    yield from (f"## {title}", "", "```text", text.rstrip(), "```", "")


class Command(BaseCommand):
    """Write the page, or check that it is up to date."""

    help = "Write docs/alerts-reference.md from the grammar and the lexicon of alerts."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--check", action="store_true", help="write nothing; fail if the page would change"
        )

    def handle(self, *_args: Any, check: bool, **_options: Any) -> None:
        """Write the page. With --check, exit with code 1 if it would change."""
        text = reference().rstrip() + "\n"
        if PAGE.exists() and PAGE.read_text("utf-8") == text:
            return
        if check:
            self.stderr.write(f"{PAGE.relative_to(ROOT)} is out of date; run `make docs`")
            sys.exit(1)
        PAGE.write_text(text, "utf-8")
        self.stdout.write(f"{PAGE.relative_to(ROOT)} written")
