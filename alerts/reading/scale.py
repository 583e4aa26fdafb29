"""Whether the levels of an object are prices at all: `"sl": 20` of EUR/USD is rather 20 pips. Pure.

Senders who paste a message from another service leave its pips in the fields of prices.
"""

from alerts.dialects import LevelForm, require_magnitude, require_supported
from signals.models import Action
from signals.reading.draft import SignalDraft


def require_prices(draft: SignalDraft, form: LevelForm) -> SignalDraft:
    """Return a draft whose prices can be prices of its symbol. Raises InvalidInputError
    ALERT_AMBIGUOUS with both readings. form: how its dialect writes levels."""
    if draft.action == Action.OPEN and draft.pair:
        stated = (draft.open_price, draft.stop_price, draft.sl, *(t.price for t in draft.targets))
        require_magnitude(draft.pair, [price for price in stated if price is not None])
        require_supported(draft, form)
    return draft
