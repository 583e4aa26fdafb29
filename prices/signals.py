"""Django signals by which prices notify the apps above, which they may not import."""

from django.dispatch import Signal

prices_started = Signal()
"""Sent once by the prices process, before its first quote."""

prices_stopped = Signal()
"""Sent once by the prices process, after its last quote."""

quotes_arrived = Signal()
"""Sent once for each batch of quotes, before it is stored and outside of any transaction: exits do
not wait for storage. The paper broker has a recording's quotes by then. Arguments: as of
`quotes_stored`, without at_paper.
"""

quotes_stored = Signal()
"""Sent after quotes were stored, outside of any transaction.

data_connection_id: int. quotes: list[Quote], all of them in order, not only the last of a symbol
(where a broker sends too fast: the extremes and the last). at_paper: bool, whether the paper broker
has them; for a broker's prices see `quotes_at_paper`. waited: seconds since the first of them came,
if they could not be published at once.
Both are also sent without quotes about once a second, so that a receiver can process what it
missed.
"""

quotes_at_paper = Signal()
"""Sent after the paper broker got prices of a real broker, on a thread that no other waits for."""
