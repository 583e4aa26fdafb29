"""A session's times, and how fast a gateway may be talked to."""

from dataclasses import dataclass

from brokers.rate_limits import Rate

RATE = Rate(per_second=40, burst=5)
MAX_MESSAGES = 45
"""Admitted in any second, of all who talk to a gateway: it cuts the line of who sends more than 50.

Source: IBKR Campus, "TWS API: Pacing Limitations". What is admitted may leave a tenth of a second
later, and 5 + 40 × 1.1 are 49.
"""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long things take, in seconds."""

    connect: float = 5.0
    read: float = 10.0
    reply: float = 10.0
    price: float = 5.0  # a first bid and ask are there by then, or the market is closed
    first_delay: float = 1.0  # before a line is opened anew; doubled each time
    longest_delay: float = 30.0
    hurry: float = 1.0  # before it, where somebody wants to write
    client_id_delay: float = 5.0  # at least, when TWS still knows the old session (326)
    ping: float = 10.0
    resync: float = 60.0
    settle: float = 5.0  # so long after a write, a new line or 1102 an order may not be told yet
    cut_off: float = 60.0  # so long may TWS be without IBKR before the line is made anew
