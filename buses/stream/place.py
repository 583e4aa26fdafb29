"""The place of a reader of the stream, which is the id of each event: where it goes on. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_TEXT = re.compile(r"([0-9]{1,9})((?:-[0-9]{1,18}){1,20})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Place:
    """Everything up to `read[source]` was received, in this epoch of the database."""

    epoch: int
    read: Mapping[str, int]

    def text(self) -> str:
        """Return the id of an event."""
        return "-".join(map(str, (self.epoch, *self.read.values())))

    def at(self, source: str, row_id: int) -> Place:
        """Return the place after a row of one source."""
        return Place(self.epoch, {**self.read, source: row_id})

    @classmethod
    def parse(cls, text: str, sources: Sequence[str]) -> Place:
        """Return the place of an id. Raises ValueError."""
        found = _TEXT.fullmatch(text)
        numbers = [int(number) for number in found[2].split("-")[1:]] if found else []
        if found is None or len(numbers) != len(sources):
            raise ValueError(text)
        return cls(int(found[1]), dict(zip(sources, numbers, strict=True)))
