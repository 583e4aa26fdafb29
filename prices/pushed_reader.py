"""Read what is pushed to all sources in one statement, however many there are."""

from collections.abc import Sequence

from common.clocks import machine_time
from prices.pushed_quotes import PushedRow, unpublished


class PushedReader:
    """The rows of pushed quotes that no stream has taken yet. For one thread.

    Each look at the table serves every source once. So a step takes one statement, whichever
    sources take part in it, and whichever takes first.
    """

    def __init__(self) -> None:
        self._read_up_to: dict[int, int] = {}  # by source: the id of its last row
        self._served: dict[int, list[tuple[PushedRow, float]]] = {}  # with when each was read

    def add(self, source_id: int) -> None:
        """Read this source's rows too, from the first."""
        self._read_up_to.setdefault(source_id, 0)

    def remove(self, source_id: int) -> None:
        """Read this source's rows no more."""
        self._read_up_to.pop(source_id, None)
        self._served.pop(source_id, None)

    def take(self, source_id: int) -> Sequence[PushedRow]:
        """Return the rows of a source that came since it took the last, in order, as of now."""
        if source_id not in self._served:
            self._read()
        now, taken = machine_time(), self._served.pop(source_id)
        return [row._replace(age=row.age + now - read_at) for row, read_at in taken]

    def _read(self) -> None:
        """Look at the table. What a source has not taken yet stays before what is new."""
        found, now = unpublished(self._read_up_to), machine_time()
        for source_id in self._read_up_to:
            self._served.setdefault(source_id, [])
        for row in found:
            self._served[row.source_id].append((row, now))
            self._read_up_to[row.source_id] = row.id
