"""What prices tell the rooms above, which they may not import."""

from django.dispatch import Signal

prices_started = Signal()
"""Sent once by the prices process, before its first quote."""

prices_stopped = Signal()
"""Sent once by the prices process, after its last quote."""

quotes_stored = Signal()
"""Sent after quotes went to the paper broker and were stored, outside of any transaction.

data_connection_id: int. quotes: list[Quote], every one in order, not only the last of a symbol.
Sent with no quotes about once a second too, so that a receiver can drain what it missed.
"""
