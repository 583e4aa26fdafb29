"""When brokers say that they may not answer: maintenance windows, as data. Pure.

A window is of a kind of broker, an exchange, a host or a region ('' in any of them: all). Operators
add their own (`connections.models.MaintenanceWindow`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY, SATURDAY, SUNDAY = range(7)
EVERY_DAY = frozenset(range(7))
NEW_YORK = "America/New_York"
REGION = "region"  # the setting of an account that says whose resets it has
DEFAULT_REGION = "america"


@dataclass(frozen=True, slots=True)
class Window:
    """A time of `minutes` that begins at `start` of the zone's clock, on `weekdays` or `on`.

    closed: entries wait for its end. Otherwise the broker may only be away for a while in it:
    entries wait as long as the account does not answer. note: for people; source: where its
    broker says it.
    """

    kind: str
    start: time
    zone: str
    minutes: int
    weekdays: frozenset[int] = EVERY_DAY
    on: date | None = None
    exchange_name: str = ""
    host: str = ""  # as the database names it (`ExecutionConnection.broker_host`)
    region: str = ""
    closed: bool = False
    note: str = ""
    source: str = ""

    def until(self, moment: datetime) -> datetime | None:
        """Return when this window ends (UTC) if `moment` lies in it."""
        return next((end for begin, end in self._times(moment, 0) if begin <= moment < end), None)

    def next_begin(self, moment: datetime) -> datetime | None:
        """Return when it begins next (UTC), within the eight days after `moment`."""
        return next((begin for begin, _ in self._times(moment, 8) if begin > moment), None)

    def _times(self, moment: datetime, days: int) -> Iterator[tuple[datetime, datetime]]:
        """Begin and end of those that may hold `moment` or begin in so many days after it."""
        zone, length = ZoneInfo(self.zone), timedelta(minutes=self.minutes)
        today = moment.astimezone(zone).date()
        for number in range(-self.minutes // 1440 - 1, days + 1):
            day = today + timedelta(days=number)
            if (day == self.on) if self.on else (day.weekday() in self.weekdays):
                begin = datetime.combine(day, self.start, zone).astimezone(UTC)
                yield begin, begin + length


@dataclass(frozen=True, slots=True)
class WindowTarget:
    """What is asked about an account. region: '' is DEFAULT_REGION."""

    kind: str
    exchange_name: str = ""
    host: str = ""
    region: str = ""


@dataclass(frozen=True, slots=True)
class Maintenance:
    """A window that is open. until: UTC."""

    window: Window
    until: datetime

    def concerns(self, account: WindowTarget) -> bool:
        """Whether this account is in it."""
        window = self.window
        return (
            window.kind in ("", account.kind)
            and window.exchange_name in ("", account.exchange_name)
            and window.host in ("", account.host)
            and window.region in ("", account.region or DEFAULT_REGION)
        )


def open_windows(moment: datetime, windows: Iterable[Window]) -> tuple[Maintenance, ...]:
    """Return those of these windows that are open, what is closed for entries first."""
    found = [Maintenance(w, until) for w in windows if (until := w.until(moment))]
    return tuple(sorted(found, key=lambda m: (m.window.closed, m.until), reverse=True))


def window_for(account: WindowTarget, found: Iterable[Maintenance]) -> Maintenance | None:
    """Return the one of these that holds for an account."""
    return next((one for one in found if one.concerns(account)), None)


_IBKR = "https://www.interactivebrokers.com/en/software/systemStatus.php"
_PEPPERSTONE = "https://pepperstone.com/en/support/about-trading/market-opening-hours"
_NOT_SATURDAY = EVERY_DAY - {SATURDAY}
_DAILY = "Daily reset: each account loses its line for a while."
_ROLLOVER = "Rollover at the New York close: servers reset, trading is disabled for minutes."
_WEEKEND = "Weekend: servers are restarted and maintained."


def _reset(region: str, start: time, zone: str, minutes: int) -> Window:
    return Window(
        "ibkr", start, zone, minutes, _NOT_SATURDAY, region=region, note=_DAILY, source=_IBKR
    )


def _meta_trader(kind: str) -> tuple[Window, ...]:
    to_thursday = frozenset({MONDAY, TUESDAY, WEDNESDAY, THURSDAY})
    return (
        Window(kind, time(16, 59), NEW_YORK, 3, to_thursday, closed=True, note=_ROLLOVER,
               source=_PEPPERSTONE),
        Window(kind, time(17), NEW_YORK, 2 * 1440 + 5, frozenset({FRIDAY}), note=_WEEKEND,
               source=_PEPPERSTONE),
    )  # fmt: skip


BUILT_IN: tuple[Window, ...] = (
    _reset("america", time(0, 15), NEW_YORK, 90),
    _reset("europe", time(6, 25), "Europe/Zurich", 80),
    _reset("asia", time(4, 45), "Asia/Hong_Kong", 80),
    _reset("asia", time(20, 15), "Asia/Hong_Kong", 60),
    Window("ibkr", time(23), NEW_YORK, 240, frozenset({FRIDAY}), closed=True,
           note="Weekend reset: IBKR's systems are maintained.", source=_IBKR),
    *_meta_trader("mt5"),
    *_meta_trader("mt4"),
    *_meta_trader("mt5-dwx"),
)  # fmt: skip
"""What brokers publish. Exchanges announce theirs: those are for operators to enter."""
