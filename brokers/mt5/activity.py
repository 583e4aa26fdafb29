"""Watch an account in its terminal for changes, so that they are read at once.

The package has no callbacks. But the terminal is on this machine and its numbers of orders,
positions and deals are read in a fraction of a millisecond, all of them with one request to the
package's process. An order that was filled or cancelled, and a position that was opened or closed
changes at least one of them. What has changed is read by the poll, as without this.

A look never starts the package's process, never logs in, and waits for all other calls.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from brokers.mt5.session import Terminal, is_account
from brokers.mt5.verified_logins import login_of
from brokers.types import ConnectionSpec
from common.clocks import machine_time, market_now

LOOK_SECONDS = 0.03
AWAY_SECONDS = 1.0  # while another account is logged in: a terminal may serve many
SPAN = timedelta(days=2)  # of the history that is counted, before and after now; zones included
SPAN_SECONDS = 6 * 3600.0  # after which the span moves on; its numbers then count as a change


class Activity(NamedTuple):
    """How many orders and positions an account has, and had in a span of its server's time."""

    orders: int
    positions: int
    past_orders: int
    deals: int

    def is_news_after(self, before: "Activity | None") -> bool:
        """Whether there may be anything to read that was not there before.

        Of new working orders there is not: who has sent them got the answer."""
        return before is None or self._replace(orders=min(self.orders, before.orders)) != before


class Span(NamedTuple):
    """The seconds of server time of which past orders and deals are counted."""

    begin: int
    end: int

    @classmethod
    def around(cls, now: datetime) -> "Span":
        """Return the span around a time, in any time zone."""
        return cls(int((now - SPAN).timestamp()), int((now + SPAN).timestamp()))


Look = Callable[[ConnectionSpec, Span], Awaitable[Activity | None]]


def read_activity(terminal: Terminal, spec: ConnectionSpec, span: Span) -> Activity | None:
    """Return the numbers of an account, on the terminal's thread. Raises ReadFailed.

    None: they are not known now, as while another account is logged in."""
    if not terminal.api.is_running:
        return None
    found = terminal.api.activity(*span)
    if found is None or not is_account(found.account, spec, login_of(spec)):
        return None
    numbers: list[Any] = found.numbers
    return None if None in numbers else Activity(*numbers)


async def watch(look: Look, spec: ConnectionSpec) -> AsyncIterator[None]:
    """Yield once the account's numbers are known, then whenever they change. Raises ReadFailed."""
    seen: Activity | None = None
    span, since = Span.around(market_now()), machine_time()
    while True:
        if machine_time() - since > SPAN_SECONDS:
            span, since = Span.around(market_now()), machine_time()
        found = await look(spec, span)
        if found is not None:
            before, seen = seen, found
            if found.is_news_after(before):
                yield
        await asyncio.sleep(AWAY_SECONDS if found is None else LOOK_SECONDS)
