"""How far a broker's clock is ahead of ours."""

from datetime import timedelta

VALID_SECONDS = 20.0  # after that, a corrected clock or a single wrong time has no effect any more
MAX_OFFSET = timedelta(hours=15)  # all time zones are closer to UTC: a larger offset is invalid


class ClockOffset:
    """The offset of one broker's clock, estimated from prices that have just moved.

    ahead: at least so far is the broker's clock ahead of ours; never negative.
    """

    def __init__(self) -> None:
        self.ahead = timedelta(0)
        self._seen_at = float("-inf")

    def observe(self, ahead: timedelta, machine: float) -> None:
        """Add an observation: a current quote's time minus our time. machine: machine_time()."""
        if ahead > MAX_OFFSET:
            return
        if ahead >= self.ahead or machine - self._seen_at > VALID_SECONDS:
            self.ahead, self._seen_at = max(ahead, timedelta(0)), machine
