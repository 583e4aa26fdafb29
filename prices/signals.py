"""What prices tell the rooms above, which they may not import."""

from django.dispatch import Signal

prices_started = Signal()
"""Sent once by the prices process, before its first quote."""

prices_stopped = Signal()
"""Sent once by the prices process, after its last quote."""

quotes_stored = Signal()
"""Sent after quotes were stored, outside of any transaction.

data_connection_id: int. quotes: list[Quote], every one in order, not only the last of a symbol (of
a broker's that came too fast: the extremes and the last). at_paper: bool, whether the paper broker
has had them (of a broker's prices `quotes_at_paper` tells that). waited: seconds since the first of
them came, where they could not be told at once.
Sent with no quotes about once a second too, so that a receiver can drain what it missed.
"""

quotes_at_paper = Signal()
"""Sent after the paper broker has had prices of a real one, on a thread that nobody waits for."""
