"""Maintenance windows: times at which brokers may not answer. Data and pure functions.

A window applies to a broker type, an exchange, a host or a region ('' in any of them: all).
Operators add their own (`connections.models.MaintenanceWindow`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY, SATURDAY, SUNDAY = range(7)
EVERY_DAY = frozenset(range(7))
NEW_YORK = "America/New_York"
REGION = "region"  # the setting with the region whose resets an account has
DEFAULT_REGION = "america"


@dataclass(frozen=True, slots=True)
class Window:
    """A period of `minutes` from `start`, local time of the zone, on `weekdays` or on date `on`.

    closed: entries wait for its end. Otherwise the broker may be away for a part of it, and entries
    wait while the account does not answer. note: text for people; source: the broker's page.
    """

    broker_type: str
    start: time
    zone: str
    minutes: int
    weekdays: frozenset[int] = EVERY_DAY
    on: date | None = None
    exchange_name: str = ""
    host: str = ""  # as in `ExecutionConnection.broker_host`
    region: str = ""
    closed: bool = False
    note: str = ""
    source: str = ""

    def end_if_open(self, moment: datetime) -> datetime | None:
        """Return when this window ends (UTC) if it is open at `moment`, else None."""
        return next((end for begin, end in self._periods(moment, 0) if begin <= moment < end), None)

    def next_start(self, moment: datetime) -> datetime | None:
        """Return when it begins next (UTC), within the eight days after `moment`."""
        return next((begin for begin, _ in self._periods(moment, 8) if begin > moment), None)

    def _periods(self, moment: datetime, days: int) -> Iterator[tuple[datetime, datetime]]:
        """Yield the periods that include `moment` or begin within `days` after it: begin, end.

        A window of days ends by the clock: on some weekends a day has an hour more or less.
        """
        zone = ZoneInfo(self.zone)
        whole_days, rest = divmod(timedelta(minutes=self.minutes), timedelta(days=1))
        today = moment.astimezone(zone).date()
        for offset in range(-self.minutes // 1440 - 1, days + 1):
            day = today + timedelta(days=offset)
            if (day == self.on) if self.on else (day.weekday() in self.weekdays):
                last_day = day + timedelta(days=whole_days)
                begin, end = (
                    datetime.combine(one, self.start, zone).astimezone(UTC)
                    for one in (day, last_day)
                )
                yield begin, end + rest


@dataclass(frozen=True, slots=True)
class WindowTarget:
    """What a maintenance window is looked up for. region: '' is DEFAULT_REGION."""

    broker_type: str
    exchange_name: str = ""
    host: str = ""
    region: str = ""


@dataclass(frozen=True, slots=True)
class Maintenance:
    """A window that is open now. until: its end, UTC."""

    window: Window
    until: datetime

    def applies_to(self, account: WindowTarget) -> bool:
        """Whether the window is one of this account's."""
        window = self.window
        return (
            window.broker_type in ("", account.broker_type)
            and window.exchange_name in ("", account.exchange_name)
            and window.host in ("", account.host)
            and window.region in ("", account.region or DEFAULT_REGION)
        )


def open_windows(moment: datetime, windows: Iterable[Window]) -> tuple[Maintenance, ...]:
    """Return the windows that are open at a moment, those closed for entries first."""
    found = [Maintenance(w, until) for w in windows if (until := w.end_if_open(moment))]
    return tuple(sorted(found, key=lambda m: (m.window.closed, m.until), reverse=True))


def window_for(account: WindowTarget, found: Iterable[Maintenance]) -> Maintenance | None:
    """Return the first of these windows that applies to an account; None if none does."""
    return next((maintenance for maintenance in found if maintenance.applies_to(account)), None)


_IBKR = "https://www.interactivebrokers.com/en/software/systemStatus.php"
_PEPPERSTONE = "https://pepperstone.com/en/support/about-trading/market-opening-hours"
_NOT_SATURDAY = EVERY_DAY - {SATURDAY}
_DAILY = "Daily reset: each account loses its connection for a while."
_ROLLOVER = "Rollover at the New York close: servers reset, trading is disabled for minutes."
_WEEKEND = "Weekend: servers are restarted and maintained."


def _reset(region: str, start: time, zone: str, minutes: int) -> Window:
    return Window(
        "ibkr", start, zone, minutes, _NOT_SATURDAY, region=region, note=_DAILY, source=_IBKR
    )


def _meta_trader(broker_type: str) -> tuple[Window, ...]:
    to_thursday = frozenset({MONDAY, TUESDAY, WEDNESDAY, THURSDAY})
    return (
        Window(broker_type, time(16, 59), NEW_YORK, 3, to_thursday, closed=True, note=_ROLLOVER,
               source=_PEPPERSTONE),
        Window(broker_type, time(17), NEW_YORK, 2 * 1440 + 5, frozenset({FRIDAY}), note=_WEEKEND,
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
"""The windows that brokers publish. Exchanges announce theirs; operators enter those."""
