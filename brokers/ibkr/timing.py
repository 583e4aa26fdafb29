"""A session's time-outs and delays, and the rate limit of a gateway."""

from dataclasses import dataclass

from brokers.rate_limits import Rate

RATE = Rate(per_second=40, burst=5)
MAX_MESSAGES = 45
"""Messages to a gateway in any second, of all sessions. It disconnects a client that sends over 50.

Source: IBKR Campus, "TWS API: Pacing Limitations". An admitted message may leave a tenth of a
second later, so the maximum is 5 + 40 × 1.1 = 49.
"""


@dataclass(frozen=True, slots=True)
class Timing:
    """Time-outs and delays, in seconds."""

    connect: float = 5.0
    read: float = 10.0
    reply: float = 10.0
    price: float = 5.0  # without a bid and ask by then, the market counts as closed
    first_delay: float = 1.0  # before a reconnect; doubled each time
    longest_delay: float = 30.0
    min_retry_delay: float = 1.0  # before a reconnect if an order waits for it
    client_id_delay: float = 5.0  # minimum, if TWS still has the old session (326)
    ping: float = 10.0
    resync: float = 60.0
    full_resync: float = 600.0  # with what has ended today
    settle: float = 5.0  # after a write, a connect or 1102, TWS may not list an order for so long
    ibkr_lost: float = 60.0  # reconnect after TWS was without IBKR for so long
