"""Rows of brokers' lists that cannot be read: each is left out, logged once, and counted.

One invalid row must not spoil a whole read. A position that cannot be read stays in the list, so
that nothing is concluded from its absence (`BrokerPosition.is_readable`). What else is left out is
found by other means: a working order by its look-up, an execution by the comparison.
`execution/base/dropped_messages.py` stores the counts, which operators see.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from brokers.base import ReadFailed
from common.reason_codes import Code

log = logging.getLogger(__name__)
Row = TypeVar("Row")
Value = TypeVar("Value")
MAX_KNOWN = 10_000
MAX_WHY_LENGTH = 300
INVALID = (KeyError, TypeError, ValueError, ArithmeticError, AttributeError)
"""What reading an invalid row raises."""
OF_ONE_ROW = (ReadFailed, *INVALID)
"""What may be about one row: `is_of_one_row` states whether it is."""


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """what: of which list, in the singular. name: the row's, as far as it has one."""

    connection_id: str
    what: str
    name: str
    why: str

    @property
    def sentence(self) -> str:
        return f"{self.what} {self.name} of connection {self.connection_id}: {self.why}"


class UnreadableRows:
    """The rows of this process, each once. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        self._new: list[UnreadableRow] = []

    def note(self, connection_id: str, what: str, name: str, why: object) -> None:
        """Note a row that was left out."""
        key, text = (connection_id, what, name), _text(why)
        with self._lock:
            is_new = key not in self._known
            self._known[key] = None
            self._known.move_to_end(key)
            if len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)
            if is_new and len(self._new) < MAX_KNOWN:
                self._new.append(UnreadableRow(connection_id, what, name, text))
        if is_new:
            log.warning("%s %s of %s cannot be read: %s", what, name, connection_id, text)

    def take(self) -> list[UnreadableRow]:
        """Return the rows that were noted since the last call."""
        with self._lock:
            found, self._new = self._new, []
            return found

    def put_back(self, rows: Iterable[UnreadableRow]) -> None:
        """Return rows that were taken and could not be counted."""
        with self._lock:
            self._new[:0] = rows


def _text(why: object) -> str:
    text = f"{type(why).__name__} {why}" if isinstance(why, Exception) else str(why)
    return text[:MAX_WHY_LENGTH]


UNREADABLE_ROWS = UnreadableRows()


def is_of_one_row(error: Exception) -> bool:
    """Whether an error is about one row of a list, and not about the read."""
    unknown_symbol = isinstance(error, ReadFailed) and error.code is Code.UNKNOWN_SYMBOL_AT_BROKER
    return unknown_symbol or isinstance(error, INVALID)


def readable(
    connection_id: str,
    what: str,
    rows: Iterable[Row],
    read: Callable[[Row], Value | None],
    *,
    name_of: Callable[[Row], str],
    otherwise: Callable[[Row], Value | None] = lambda _: None,
) -> list[Value]:
    """Return what `read` makes of the rows, without those of which it makes None.

    A row that it cannot read is noted; `otherwise` states what stands for it, None: nothing. Raises
    what `read` raises if that is not about the row alone.
    """
    found = []
    for row in rows:
        try:
            value = read(row)
        except OF_ONE_ROW as error:
            if not is_of_one_row(error):
                raise
            UNREADABLE_ROWS.note(connection_id, what, name_of(row), error)
            value = otherwise(row)
        if value is not None:
            found.append(value)
    return found
