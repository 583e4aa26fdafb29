"""What an alert is read as: a signal, or what to close and open of a symbol."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from alerts.grammar.reading import AlertUpdate, Dialect, Distance, LevelForm, Note
from alerts.reading.strategy import Meaning
from common.errors import InvalidInputError
from signals.models import Action, Direction
from signals.reading.draft import SignalDraft

_PLAIN_CLOSE = SignalDraft(action=Action.CLOSE)


@dataclass(frozen=True, slots=True)
class AlertOrder:
    """An alert about a symbol: what it closes, what it opens.

    key: identifies it, the same when it is sent again. opening: the trade that it opens.
    opening_error: why the trade that a reversal opens cannot be read; the reversal still closes.
    external_id: the sender's own id of a close. closing: what its CLOSE signals say besides the
    signals that they close. feed: the slug that it names, if any. level_form: of the entry.
    """

    meaning: Meaning | None  # None: a close by symbol
    pair: str  # or a word without a currency, which only a broker's list completes; '': all symbols
    symbol_field: str
    closes: bool
    side: Direction | None  # of the trades that are closed; None: both
    fraction: Decimal
    opening: SignalDraft | None
    sent_at: datetime | None
    key: str
    opening_error: InvalidInputError | None = None
    external_id: str = ""
    closing: SignalDraft = _PLAIN_CLOSE
    feed: str = ""
    dialect: Dialect = Dialect.OWN
    notes: tuple[Note, ...] = ()
    level_form: LevelForm = LevelForm.NUMBER

    @property
    def change(self) -> str:
        """How it was read: entry, add, reduce, reverse, flat; close for a close by symbol."""
        return self.meaning.change.value if self.meaning else "close"


@dataclass(frozen=True, slots=True)
class AlertSignal:
    """An alert that is a signal as the API accepts it.

    opposite: the side of trades that it could also be meant to end, if the feed has one open.
    levels_alone: it could also be meant to change a trade that is open on its own side.
    distances: levels to add when the entry price is known. key: of its text, for those with levels
    that depend on the market.
    """

    draft: SignalDraft
    opposite: Direction | None = None
    levels_alone: bool = False
    dialect: Dialect = Dialect.OWN
    notes: tuple[Note, ...] = ()
    level_form: LevelForm = LevelForm.NUMBER
    distances: tuple[Distance, ...] = ()
    key: str = ""


Alert = AlertSignal | AlertOrder | AlertUpdate


def only_feed(named: str) -> SignalDraft:
    """Return what can still be checked of an alert that does not say what it trades: its feed."""
    return SignalDraft(action=Action.CLOSE, feed=named)
