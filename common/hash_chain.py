"""Hash chains: each line holds the SHA-256 of the previous line's hash and of its own content.

The audit trail is one chain, and the record of each feed is one. Lines are numbered and hashed by
triggers at commit; what is here checks them. Hashes are computed here and not by the database's
functions, which an intruder may have replaced.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import chain
from typing import NamedTuple, Protocol

from django.core import signing

MAX_FINDINGS = 100
GIVEN = "The head that you gave"


class Head(NamedTuple):
    """The number of lines, and the hash of the last one."""

    number: int
    hash: str

    @property
    def text(self) -> str:
        """The head as people keep it: `1041:9f2c…`."""
        return f"{self.number}:{self.hash}"


EMPTY = Head(0, "")


class ChainLine(Protocol):
    """A line as it is stored. content: the text that was hashed after the previous line's hash."""

    @property
    def number(self) -> int:
        """The line's place, from 1."""

    @property
    def hash(self) -> str:
        """The stored hash."""

    @property
    def content(self) -> str:
        """The text that was hashed."""

    @property
    def title(self) -> str:
        """What the line is about, for people."""


@dataclass(slots=True)
class Findings:
    """What is wrong with a chain, in sentences; none if it is proven.

    unmatched: the given heads that do not match. They may be mistyped, so they prove nothing.
    """

    head: Head = EMPTY
    lines: int = 0
    checkpoints: int = 0
    wrong: list[str] = field(default_factory=list)
    more: int = 0
    unmatched: list[str] = field(default_factory=list)

    @property
    def is_proven(self) -> bool:
        """Whether the chain is whole and matches every given head."""
        return not self.wrong and not self.unmatched

    @property
    def count(self) -> int:
        """The number of findings, including those that were not kept."""
        return len(self.wrong) + self.more + len(self.unmatched)

    def add(self, sentence: str) -> None:
        """Add a finding. After MAX_FINDINGS they are only counted."""
        if len(self.wrong) < MAX_FINDINGS:
            self.wrong.append(sentence)
        else:
            self.more += 1


def next_hash(previous: str, content: str) -> str:
    """Return the hash of a line with this content, after the line with hash `previous`."""
    return sha256((previous + content).encode()).hexdigest()


def check_chain(
    found: Findings,
    lines: Iterable[ChainLine],
    known: Sequence[tuple[Head, str]],
    *,
    noun: str = "line",
) -> None:
    """Check the lines after `found.head`, in order of number, and set it to the last one.

    known: heads that must match, each with a description of its source. noun: what a line is
    called.
    """
    expected: dict[int, list[tuple[Head, str]]] = {}
    for head, source in known:
        expected.setdefault(head.number, []).append((head, source))
    for line in lines:
        found.lines += 1
        if line.number != found.head.number + 1:
            found.add(missing(found.head.number + 1, line.number - 1, noun=noun))
        elif next_hash(found.head.hash, line.content) != line.hash:
            found.add(
                f"{noun.title()} {line.number} ({line.title}):"
                f" its hash does not match its content and the previous {noun}. It was changed or"
                f" inserted, or the previous {noun} was removed."
            )
        for head, source in expected.pop(line.number, []):
            if head.hash != line.hash:
                detail = f"has another hash of {noun} {line.number}: it was rewritten."
                _add_head_finding(found, source, detail)
        found.head = Head(line.number, line.hash)
    for head, source in chain.from_iterable(expected.values()):
        if head.number:
            detail = f"names {noun} {head.number}, which does not exist."
            _add_head_finding(found, source, detail)


def _add_head_finding(found: Findings, source: str, detail: str) -> None:
    if source == GIVEN:
        found.unmatched.append(f"{source} {detail}")
    else:
        found.add(f"{source} {detail}")


def check_head(found: Findings, stated: Head, *, noun: str = "line") -> None:
    """Compare the stored head with the last line that was read."""
    if stated.number > found.head.number:
        lost = missing(found.head.number + 1, stated.number, noun=noun)
        found.add(f"{lost} They were the last ones.")
    elif stated.number < found.head.number:
        found.add(
            f"The head counts {stated.number} {noun}s, the last one is {found.head.number}: {noun}s"
            " were inserted at the end, or the head was changed."
        )
    elif stated != found.head:
        found.add(f"The head's hash is not that of the last {noun}: one of them was changed.")


def missing(first: int, last: int, *, noun: str = "line") -> str:
    """Return the sentence about lines that are missing."""
    if first == last:
        return f"{noun.title()} {first} is missing."
    return f"{noun.title()}s {first} to {last} are missing."


def sign(text: str, *, salt: str) -> str:
    """Return the signature of a head's text with this installation's FILLCAST_SECRET_KEY."""
    return signing.Signer(salt=salt).signature(text)


def is_signed(text: str, signature: str, *, salt: str) -> bool:
    """Return whether a signature is of this text and this installation."""
    try:
        signing.Signer(salt=salt).unsign(f"{text}:{signature}")
    except signing.BadSignature:
        return False
    return True
