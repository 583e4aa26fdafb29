"""How far a broker's clock is before ours."""

from datetime import timedelta

VALID_SECONDS = 20.0  # so soon one that was put right, or one wrong time, is seen through
MAX_OFFSET = timedelta(hours=15)  # more is no clock: all its zones are less apart from UTC


class ClockOffset:
    """Of one broker's clock, at the least, as prices that have just moved tell it."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)
        self._seen_at = float("-inf")

    def observe(self, ahead: timedelta, machine: float) -> None:
        """Take in by how much a price of now was dated ahead. machine: machine_time()."""
        if ahead > MAX_OFFSET:
            return
        if ahead >= self.ahead or machine - self._seen_at > VALID_SECONDS:
            self.ahead, self._seen_at = max(ahead, timedelta(0)), machine
