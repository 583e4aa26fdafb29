"""How an order of ours is known again at the broker: by its magic number, and by its comment.

The comment is our client order id, and brokers cut and rewrite comments. The magic number stays, so
it is made from the client order id: a look-up needs nothing but the id, in whatever process, and a
comment is believed only with the magic number that belongs to it. (The number of our row would not
do: a look-up is not told it, and another installation on the same account has the same numbers.)
"""

import re
import threading
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import sha256
from time import monotonic

from brokers.mt5.constants import COMMENT_LENGTH
from brokers.record_cache import RECORD_CACHE, RecordCache

_OURS = 1 << 52  # the top bit of 53: what an integer keeps even where it passes through a double
_ID = re.compile(r"[a-z0-9]{4,18}", re.ASCII)
ID_LENGTH = 18  # the length of an id
IDLE_SECONDS = 3600.0  # what lives is asked about with each poll


def magic_of(client_order_id: str) -> int:
    """Return the magic number of an order: 52 bits of its id's hash, and a top bit that says that
    it is one of these."""
    digest = int.from_bytes(sha256(client_order_id.encode()).digest()[:8], "big")
    return _OURS | digest >> 12


def is_ours(magic: int) -> bool:
    """Whether a magic number is one of these, of this installation or another."""
    return _OURS <= magic < 2 * _OURS


def comment_of(client_order_id: str) -> str:
    """Return what goes out as the comment."""
    return client_order_id[:COMMENT_LENGTH]


@dataclass(eq=False, slots=True)
class OrderIdRecord:
    """One order. sent_at: time.monotonic() when it may have left this process; asked_at: when its
    name was last wanted."""

    name: str
    sent_at: float = float("-inf")
    asked_at: float = 0.0


class OrderIds:
    """The orders that this process has met: which id a magic number stands for, where the comment
    does not say it any more, and when it left. They share the process's room
    (brokers/record_cache.py): first those leave that certainly came to nothing, or that nobody has
    asked about for an hour."""

    def __init__(self, record_cache: RecordCache = RECORD_CACHE) -> None:
        self._partition, self._lock = record_cache.partition(self), threading.Lock()
        self._known: OrderedDict[int, OrderIdRecord] = (
            OrderedDict()
        )  # by magic, as they are asked about
        self._ended: OrderedDict[int, OrderIdRecord] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known) + len(self._ended)

    def keep(self, client_order_id: str) -> int:
        """Remember an id and return its magic number."""
        return self._keep(client_order_id)

    def leaves(self, client_order_id: str) -> None:
        """An order is about to leave."""
        self._keep(client_order_id, monotonic())

    def ended(self, client_order_id: str) -> None:
        """Nothing came of an order, or will: refused, never sent, not there, or cancelled whole."""
        magic = magic_of(client_order_id)
        with self._lock:
            if one := self._known.pop(magic, None):
                self._ended[magic] = one

    def sent_at(self, client_order_id: str) -> float:
        """Return when an order may have left, by time.monotonic(); minus infinity: not from here,
        as far as that is remembered."""
        magic = magic_of(client_order_id)
        with self._lock:
            one = self._known.get(magic) or self._ended.get(magic)
            return one.sent_at if one else float("-inf")

    def read(self, magic: int, comment: str) -> str:
        """Return the client order id of an order, deal or position; '' if it is not known.

        Where the magic number was taken away (0) a whole id is believed without it: whose it is,
        its first letters say.
        """
        if magic == 0:
            return comment if len(comment) == ID_LENGTH and _ID.fullmatch(comment) else ""
        for candidate in _ID.findall(comment):
            if magic_of(candidate) == magic:
                return str(candidate)
        with self._lock:
            one = self._take(magic)
            if one is None:
                return ""
            one.asked_at, self._known[magic] = monotonic(), one  # what is asked about lives
            return one.name

    def drop(self, *, ended: bool) -> bool:
        """Let the oldest leave; never the one that was asked about last, which may be being sent.
        Of what is not `ended` the one that nobody has asked about for longest."""
        with self._lock:
            oldest = next(iter(self._known.values()), None)
            is_idle = oldest is not None and monotonic() - oldest.asked_at > IDLE_SECONDS
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
        """They may be dropped on any thread."""

    def _keep(self, client_order_id: str, sent_at: float = float("-inf")) -> int:
        magic = magic_of(client_order_id)
        with self._lock:
            one = self._take(magic) or OrderIdRecord(client_order_id)
            one.sent_at = max(one.sent_at, sent_at)
            one.asked_at, self._known[magic] = monotonic(), one
            self._partition.update_size(len(self))
        self._partition.ensure_capacity()
        return magic

    def _take(self, magic: int) -> OrderIdRecord | None:
        return self._known.pop(magic, None) or self._ended.pop(magic, None)
