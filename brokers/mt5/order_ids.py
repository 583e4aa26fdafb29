"""How we recognise our orders at the broker: by magic number and comment.

The comment is our client order id, but brokers truncate and rewrite comments. The magic number
stays. It is a hash of the client order id, so a look-up in any process needs only the id, and a
comment is accepted only with its own magic number. (The id of our row would not work: a look-up
does not have it, and another installation on the same account has the same ids.)
"""

import re
import threading
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256
from time import monotonic

from brokers.mt5.constants import COMMENT_LENGTH
from brokers.record_cache import RECORD_CACHE, RecordCache

_OURS = 1 << 52  # the top bit of 53, the bits that survive a conversion to double
_ID = re.compile(r"[a-z0-9]{4,18}", re.ASCII)
ID_LENGTH = 18  # the length of an id
IDLE_SECONDS = 3600.0  # a live order is read at each poll


def magic_of(client_order_id: str) -> int:
    """Return the magic number of an order: 52 bits of its id's hash, and a top bit that marks it as
    one of ours."""
    digest = int.from_bytes(sha256(client_order_id.encode()).digest()[:8], "big")
    return _OURS | digest >> 12


def is_ours(magic: int) -> bool:
    """Whether a magic number is one of these, of this installation or another."""
    return _OURS <= magic < 2 * _OURS


def comment_of(client_order_id: str) -> str:
    """Return the comment to send."""
    return client_order_id[:COMMENT_LENGTH]


@dataclass(eq=False, slots=True)
class OrderIdRecord:
    """One order. sent_at: time.monotonic() when this process may have sent it; used_at: when it was
    last used."""

    name: str
    sent_at: float = float("-inf")
    used_at: float = 0.0


class OrderIds:
    """The orders of this process by magic number: their ids, for truncated comments, and when they
    were sent.

    They count towards the process's record cache (brokers/record_cache.py). Orders that certainly
    ended without a fill, or were not used for an hour, are dropped first."""

    def __init__(self, record_cache: RecordCache = RECORD_CACHE) -> None:
        self._partition, self._lock = record_cache.partition(self), threading.Lock()
        # By magic number, the most recently used last.
        self._known: OrderedDict[int, OrderIdRecord] = OrderedDict()
        self._ended: OrderedDict[int, OrderIdRecord] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known) + len(self._ended)

    def remember(self, client_order_id: str) -> int:
        """Store an id and return its magic number."""
        return self._remember(client_order_id)

    def mark_sent(self, client_order_id: str) -> None:
        """Note that an order is about to be sent."""
        self._remember(client_order_id, monotonic())

    def mark_ended(self, client_order_id: str) -> None:
        """Note that an order has ended without a fill: rejected, not sent, absent or cancelled."""
        magic = magic_of(client_order_id)
        with self._lock:
            if record := self._known.pop(magic, None):
                self._ended[magic] = record

    def sent_at(self, client_order_id: str) -> float:
        """Return when this process may have sent an order, by time.monotonic(); minus infinity: as
        far as it knows, never."""
        magic = magic_of(client_order_id)
        with self._lock:
            record = self._known.get(magic) or self._ended.get(magic)
            return record.sent_at if record else float("-inf")

    def resolve(self, magic: int, comment: str) -> str:
        """Return the client order id of an order, deal or position; '' if it is unknown.

        If the broker has removed the magic number (0), a complete id is accepted without it: its
        first letters identify the installation.
        """
        if magic == 0:
            return comment if len(comment) == ID_LENGTH and _ID.fullmatch(comment) else ""
        for candidate in _ID.findall(comment):
            if magic_of(candidate) == magic:
                return str(candidate)
        with self._lock:
            record = self._pop(magic)
            if record is None:
                return ""
            record.used_at, self._known[magic] = monotonic(), record
            return record.name

    def drop(self, *, ended: bool) -> bool:
        """Drop the oldest ended order, else the least recently used one.

        Never the last one, which may be about to be sent; an order in use only if not `ended`."""
        with self._lock:
            oldest = next(iter(self._known.values()), None)
            is_idle = oldest is not None and monotonic() - oldest.used_at > IDLE_SECONDS
            if self._ended:
                self._ended.popitem(last=False)
            elif len(self._known) > 1 and (is_idle or not ended):
                self._known.popitem(last=False)
            else:
                return False
            self._partition.update_size(len(self))
            return True

    @property
    def loop(self) -> None:
        """None: records may be dropped on any thread."""

    def _remember(self, client_order_id: str, sent_at: float = float("-inf")) -> int:
        magic = magic_of(client_order_id)
        with self._lock:
            record = self._pop(magic) or OrderIdRecord(client_order_id)
            record.sent_at = max(record.sent_at, sent_at)
            record.used_at, self._known[magic] = monotonic(), record
            self._partition.update_size(len(self))
        self._partition.ensure_capacity()
        return magic

    def _pop(self, magic: int) -> OrderIdRecord | None:
        return self._known.pop(magic, None) or self._ended.pop(magic, None)
