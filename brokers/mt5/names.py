"""How an order of ours is known again at the broker: by its magic number, and by its comment.

The comment is our client order id, and brokers cut and rewrite comments. The magic number stays, so
it is made from the client order id: a look-up needs nothing but the id, in whatever process, and a
comment is believed only with the magic number that belongs to it. (The number of our row would not
do: a look-up is not told it, and another installation on the same account has the same numbers.)
"""

import re
from collections import OrderedDict
from hashlib import sha256

from brokers.mt5.constants import COMMENT_LENGTH

_OURS = 1 << 52  # the top bit of 53: what an integer keeps even where it passes through a double
_ID = re.compile(r"[a-z0-9]{4,18}", re.ASCII)
WHOLE = 18  # the length of an id
KEPT = 10_000


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


class Names:
    """Which id a magic number stands for, where the comment does not say it any more."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, str] = OrderedDict()

    def keep(self, client_order_id: str) -> int:
        """Remember an id and return its magic number."""
        magic = magic_of(client_order_id)
        self._known[magic] = client_order_id
        self._known.move_to_end(magic)
        while len(self._known) > KEPT:
            self._known.popitem(last=False)
        return magic

    def read(self, magic: int, comment: str) -> str:
        """Return the client order id of an order, deal or position; '' if it is not known.

        Where the magic number was taken away (0) a whole id is believed without it: whose it is,
        its first letters say.
        """
        if magic == 0:
            return comment if len(comment) == WHOLE and _ID.fullmatch(comment) else ""
        for word in _ID.findall(comment):
            if magic_of(word) == magic:
                return str(word)
        if magic in self._known:  # what is asked about lives: what has ended is forgotten first
            self._known.move_to_end(magic)
        return self._known.get(magic, "")
