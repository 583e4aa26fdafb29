"""Compile a grammar file: named rules over kinds of words, all in one regular expression. Pure.

A text is a row of words, and each word has one kind. A kind is one letter, so a text is a short row
of letters, and a rule is a regular expression over them: signals are not nested. The files' own
notation is explained at the top of `entry.grammar`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

_PART = re.compile(
    r'\s*(?:"(?P<quoted>[^"]+)"|(?P<kind>[A-Z][A-Z_0-9]*)|(?P<rule>[a-z][a-z_0-9]*)'
    r"|(?P<mark>[][(){}|])|(?P<ahead>[&!]))"
)
_BRACKETS = {"[": "(?:", "]": ")?", "{": "(?:", "}": ")*", "(": "(?:", ")": ")", "|": "|"}
_AHEAD = {"&": "(?=", "!": "(?!"}
_FIRST_LETTER = 0x100  # beyond the letters that mean something in a pattern


class Statement(NamedTuple):
    """A statement of a text: the name of its rule, and its first word and the one behind it."""

    name: str
    start: int
    end: int


@dataclass(slots=True)
class Grammar:
    """The rules of a file.

    rules: as they are written. A name with `*` is a statement, one with `?` a statement that has
    several meanings. classes: kinds that are several others. letters: of each kind and quoted word.
    """

    rules: Mapping[str, str]
    classes: Mapping[str, tuple[str, ...]]
    letters: dict[str, str] = field(default_factory=dict)
    pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        numbers = count(_FIRST_LETTER)
        self.pattern = re.compile("|".join(
            f"(?P<{name[1:]}>{self._pattern(body, numbers)})"
            for name, body in self.rules.items() if name[0] in "*?"
        ))  # fmt: skip

    def statements(self, kinds: list[str]) -> Iterator[Statement]:
        """Yield the statements of a text, the first rule that fits at each place.

        The last one has no name if no rule fits.
        """
        row = "".join(self.letters.get(kind, "\0") for kind in kinds)
        place = 0
        while place < len(row):
            found = self.pattern.match(row, place)
            if found is None or found.end() == place:
                yield Statement("", place, place + 1)
                return
            yield Statement(str(found.lastgroup), place, found.end())
            place = found.end()

    def _pattern(self, body: str, numbers: Iterator[int]) -> str:
        """Return a rule as a regular expression, with those that it names."""
        found, place, is_ahead = list[str](), 0, False
        while place < len(body):
            part = _PART.match(body, place)
            if part is None:
                raise ValueError(f"{body[place:]!r} is no part of a rule.")
            place = part.end()
            if part["ahead"]:
                found.append(_AHEAD[part["ahead"]])
                is_ahead = True
                continue
            found.append(self._part(part, numbers))
            if is_ahead:
                found.append(")")
                is_ahead = False
        return "".join(found)

    def _part(self, part: re.Match[str], numbers: Iterator[int]) -> str:
        if part["rule"]:
            return f"(?:{self._pattern(self.rules[part['rule']], numbers)})"
        return _BRACKETS[part["mark"]] if part["mark"] else self._letter(
            part["quoted"] or part["kind"], numbers
        )  # fmt: skip

    def _letter(self, name: str, numbers: Iterator[int]) -> str:
        if name == "ANY":
            return "."
        if name in self.classes:
            return f"[{''.join(self._letter(one, numbers) for one in self.classes[name])}]"
        if name not in self.letters:
            self.letters[name] = chr(next(numbers))
        return self.letters[name]


def rules_of(text: str) -> dict[str, str]:
    """Return the rules of a file by name; a line with a space in front goes on."""
    rules, name = dict[str, str](), ""
    for line in text.splitlines():
        line = line.partition("#")[0].rstrip()
        if line.startswith(" "):
            rules[name] += line
        elif line:
            name, _, body = (part.strip() for part in line.partition("="))
            rules[name] = body
    return rules
