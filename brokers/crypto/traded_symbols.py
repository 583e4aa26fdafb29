"""Executions on spot where an exchange lists them by symbol only (Binance): of what has traded.

To ask for each symbol at each poll weighs more than an address may send. A trade changes the
balance of its coin, and one request has all balances. So a symbol's executions are read

- when the balance of its coin is another one than before its last read, and again a few times if
  the trades that are listed by then do not explain it (a list may be late, coins come from
  elsewhere);
- when the money has changed and no coin has: something was bought and sold in between;
- every few minutes in any case, some symbols at a time.

What was read is kept for a while and reported again, so that a caller that could not store it gets
it once more; a read that is cut off continues with the symbols that are left. Nothing is kept over
a restart: then each symbol is read once, from before the time that another process may have left
out.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from brokers.crypto.paging import identity_of
from brokers.crypto.spot_positions import balance_change
from brokers.unreadable_rows import INVALID
from common.clocks import machine_time

Trade = Mapping[str, Any]
ReadTrades = Callable[[str, datetime], Awaitable[Sequence[Trade]]]
"""Reads a symbol's executions since a time."""

OLD_SECONDS = 300.0
RECHECKS = (2.0, 10.0, 30.0)  # seconds after a change that no trade explains yet
LATE = timedelta(seconds=60)  # so much is read again: a list may be late, clocks differ
TAKEN_OVER = timedelta(minutes=15)  # longer than any other process leaves a symbol unread
KEPT = timedelta(hours=1)
REPORTED_SECONDS = 120.0  # a trade that was just found is reported, however old it is


@dataclass(slots=True)
class Symbol:
    """What is known of one symbol. balance: of its coin, before the last read. since, until: the
    time of which its trades are known, by the exchange's clock. read_at, changed_at, traded_at:
    machine_time() of the last read, of a change that is not explained (None: all are), of the last
    read that found a trade. rechecks: how many reads there were since the change. call: the number
    of the call that read it last."""

    balance: Decimal
    since: datetime
    until: datetime
    read_at: float
    changed_at: float | None
    traded_at: float
    call: int
    rechecks: int = 0
    trades: dict[tuple[str, ...], Trade] = field(default_factory=dict)
    found_at: dict[tuple[str, ...], float] = field(default_factory=dict)


@dataclass(slots=True)
class TradedSymbols:
    """What one process knows of an account's symbols. money: the balance of the quote currency;
    calls: how many there were; money_call: the number of that which found it changed, and no coin.
    """

    symbols: dict[str, Symbol] = field(default_factory=dict)
    money: Decimal | None = None
    calls: int = 0
    money_call: int = 0

    async def read(
        self,
        balances: Mapping[str, Decimal],
        money: Decimal,
        since: datetime,
        now: datetime,
        read_trades: ReadTrades,
    ) -> list[Trade]:
        """Return the executions of symbols since a time, and what was found a moment ago.

        balances: of each symbol's coin, read just before. now: the exchange's time before that.
        Raises what `read_trades` raises; the next call then continues.
        """
        self.calls += 1
        self._note_money(balances, money)
        for name in self._due(balances, since):
            await self._read_symbol(name, balances[name], since, now, read_trades)
        return [trade for name in balances for trade in self._reported(name, since)]

    def traded_at(self, name: str) -> float:
        """Return machine_time() when a trade of a symbol was last found; 0.0: never."""
        known = self.symbols.get(name)
        return known.traded_at if known else 0.0

    def _note_money(self, balances: Mapping[str, Decimal], money: Decimal) -> None:
        if self.money is not None and money != self.money and not self._moved(balances):
            self.money_call = self.calls
        self.money = money

    def _moved(self, balances: Mapping[str, Decimal]) -> bool:
        return any(
            name in self.symbols and self.symbols[name].balance != balance
            for name, balance in balances.items()
        )

    def _due(self, balances: Mapping[str, Decimal], since: datetime) -> list[str]:
        """Return the symbols to read, those first that were read longest ago."""
        now = machine_time()
        must, old = [], []
        for name, balance in balances.items():
            known = self.symbols.get(name)
            if known is None or since < known.since or self._is_open(known, balance, now):
                must.append(name)
            elif now - known.read_at > OLD_SECONDS:
                old.append(name)
        must += sorted(old, key=self._read_at)[: 1 + len(balances) // 10]
        return sorted(must, key=self._read_at)

    def _is_open(self, known: Symbol, balance: Decimal, now: float) -> bool:
        if known.balance != balance or known.call < self.money_call:
            return True
        changed_at = known.changed_at
        return changed_at is not None and now - changed_at >= RECHECKS[known.rechecks]

    def _read_at(self, name: str) -> float:
        known = self.symbols.get(name)
        return known.read_at if known else 0.0

    async def _read_symbol(
        self, name: str, balance: Decimal, since: datetime, now: datetime, read_trades: ReadTrades
    ) -> None:
        known, began = self.symbols.get(name), machine_time()
        if known is None:
            start = since - TAKEN_OVER
        else:
            start = min(since, known.until - LATE) if since < known.since else known.until - LATE
        found = {identity_of(trade): trade for trade in await read_trades(name, start)}
        if known is None:  # what its balance was before is not known: a list may be late
            known = Symbol(balance, start, now, began, began, 0.0, self.calls, len(RECHECKS) - 1)
            self.symbols[name] = known
        new = {key: trade for key, trade in found.items() if key not in known.trades}
        self._note_change(known, balance, list(new.values()), began)
        known.since, known.until = min(start, known.since), now
        known.read_at, known.call = began, self.calls
        known.trades |= new
        known.found_at |= dict.fromkeys(new, began)
        _drop_old(known, since - KEPT)

    def _note_change(
        self, known: Symbol, balance: Decimal, new: Sequence[Trade], began: float
    ) -> None:
        change: Decimal | None
        try:
            change = sum(map(balance_change, new), Decimal(0))
        except INVALID:  # of one that cannot be read nothing is explained
            change = None
        if new:
            known.traded_at = began
        if balance != known.balance:
            is_explained = balance - known.balance == change and known.changed_at is None
            known.changed_at, known.rechecks = (None if is_explained else began), 0
        elif known.changed_at is not None and began > known.changed_at:
            known.rechecks += 1
            if known.rechecks == len(RECHECKS):
                known.changed_at = None
        known.balance = balance

    def _reported(self, name: str, since: datetime) -> list[Trade]:
        known, recent = self.symbols[name], machine_time() - REPORTED_SECONDS
        since_ms = since.timestamp() * 1000
        return [
            trade
            for key, trade in known.trades.items()
            if int(trade["timestamp"]) >= since_ms or known.found_at[key] >= recent
        ]


def _drop_old(known: Symbol, before: datetime) -> None:
    """Forget the trades that no caller asks for any more."""
    if known.since >= before:
        return
    before_ms = before.timestamp() * 1000
    known.since = before
    for key in [key for key, one in known.trades.items() if int(one["timestamp"]) < before_ms]:
        del known.trades[key], known.found_at[key]
