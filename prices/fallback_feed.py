"""Publish the prices of a fallback as a source's own while that one is silent or suspect.

The rules are in `fallback.py`. What is used is stored (`FallbackUse`), so that another process goes
on with it. A quote is written only over the one that the decision was made on: what the source
itself sends at that moment is never replaced.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from django.db import transaction

from brokers.trading_hours import StoredHours
from brokers.types import Quote
from common.clocks import machine_time
from common.db.sql import database_now
from connections.market_hours import open_since
from connections.models import DataConnection
from connections.selectors import hours_of_pairs, serves_paper
from connections.services import FallbackChange, record_fallback_changes, show_fallback_use
from prices.distance_rows import stored_distances
from prices.distances import Distance
from prices.fallback import (
    Look,
    Stored,
    Use,
    is_covered,
    measured_again,
    next_use,
    sampled,
    to_publish,
)
from prices.feeds import LiveFeed
from prices.models import FallbackUse, LatestQuote
from prices.services import store_fallback_quotes

LOOK_EVERY = 0.25  # seconds
HOURS_EVERY = 60.0  # seconds between two readings of the brokers' trading hours


@dataclass(slots=True)
class _Found:
    """What a look at the stored quotes has found.

    covered: the fallback of each pair on one that has a price of now. quotes: to be stored, each
    with when the one came that it replaces.
    """

    uses: dict[str, Use] = field(default_factory=dict)
    covered: dict[str, int] = field(default_factory=dict)
    quotes: list[tuple[Quote, datetime]] = field(default_factory=list)


@dataclass(slots=True)
class FallbackStream:
    """The prices that a source has from its fallbacks. For one thread.

    chain: the fallbacks, the first choice first. pairs: those that the source follows.
    """

    source_id: int
    chain: Sequence[int] = ()
    pairs: frozenset[str] = frozenset()
    uses: dict[str, Use] = field(default_factory=dict)
    _distances: dict[str, dict[int, Distance]] = field(default_factory=dict)
    _measured: set[tuple[str, int]] = field(default_factory=set)
    _hours: dict[str, list[StoredHours]] = field(default_factory=dict)
    _hours_at: float = float("-inf")
    _looked_at: float = float("-inf")
    _shown: dict[str, int] | None = None

    def follow(self, chain: Sequence[int], pairs: frozenset[str]) -> None:
        """Use these fallbacks for these pairs from now on.

        Deleting a fallback deletes its stored uses, so they are read again.
        """
        if chain != self.chain:
            self.uses = known_uses(self.source_id)
        self.chain, self.pairs = chain, pairs

    def due(self, now: datetime) -> list[Quote]:
        """Store and return the quotes of fallbacks that count as the source's now. now: market."""
        if machine_time() - self._looked_at < LOOK_EVERY:
            return []
        self._looked_at = machine_time()
        stored = _stored(self.source_id, self.chain, self.pairs)
        self._measure(stored, now)
        found = self._judge(stored, now)
        with transaction.atomic():
            self._keep(found.uses, found.covered)
            written = store_fallback_quotes(self.source_id, found.quotes)
        self.uses, self._shown = found.uses, found.covered
        return [quote for quote, _ in found.quotes if quote.symbol in written]

    def _measure(self, stored: Mapping[str, dict[int, Stored]], now: datetime) -> None:
        """Read the distances to new fallbacks and of new pairs: the source may be silent by now."""
        new = {(pair, pk) for pair in stored for pk in self.chain} - self._measured
        if not new:
            return
        others, pairs = {pk for _, pk in new}, {pair for pair, _ in new}
        for (pair, pk), distance in stored_distances(self.source_id, others, pairs, now).items():
            self._distances.setdefault(pair, {}).setdefault(pk, distance)
        self._measured |= new

    def _judge(self, stored: Mapping[str, dict[int, Stored]], now: datetime) -> _Found:
        """Return what each pair has from now on, and what is to be stored in place of what."""
        at, found = database_now(), _Found()
        for pair, by_source in stored.items():
            if (row := by_source.get(self.source_id)) is None:
                continue
            others = {pk: by_source[pk] for pk in self.chain if pk in by_source}
            before = self.uses.get(pair)
            distances = sampled(self._distances.get(pair, {}), row, others, before)
            look = Look(row, others, distances, self._open_since(pair, now, at), at)
            use = next_use(look, before)
            if use is None and before is not None:  # it is measured again
                distances = measured_again(distances, row, before)
            self._distances[pair] = distances
            if use is not None:
                found.uses[pair] = use
                if is_covered(look, use):
                    found.covered[pair] = use.fallback_id
            if (quote := to_publish(look, use)) is not None:
                # Another host's clock may be ahead: no later quote would count until then.
                quote = replace(quote, time=min(quote.time, now))
                found.quotes.append((quote, row.received_at))
        return found

    def _open_since(self, pair: str, now: datetime, at: datetime) -> datetime | None:
        """Return since when the market of a pair has been open. now: market time; at: machine."""
        if machine_time() - self._hours_at >= HOURS_EVERY:
            self._hours = hours_of_pairs(self.source_id, self.pairs)
            self._hours_at = machine_time()
        opened = open_since(pair, self._hours.get(pair, []), now)
        return None if opened is None else opened + (at - now)

    def stop(self) -> None:
        """Use no fallback any more: it was taken away, or its source is switched off."""
        with transaction.atomic():
            self._keep({}, {})
        self.uses, self._shown = {}, {}

    def _keep(self, uses: dict[str, Use], covered: dict[str, int]) -> None:
        if uses != self.uses:
            keep_uses(self.source_id, self.uses, uses)
        if covered != self._shown:
            show_fallback_use(self.source_id, covered)


def _stored(
    source_id: int, chain: Sequence[int], pairs: frozenset[str]
) -> dict[str, dict[int, Stored]]:
    rows = LatestQuote.objects.filter(data_connection_id__in=[source_id, *chain], symbol__in=pairs)
    values = "data_connection_id", "symbol", "bid", "ask", "time", "received_at", "from_fallback"
    found: dict[str, dict[int, Stored]] = {}
    for source, symbol, bid, ask, time, received_at, from_fallback in rows.values_list(*values):
        quote = Stored(Quote(symbol, bid, ask, time), received_at, not from_fallback)
        found.setdefault(symbol, {})[source] = quote
    return found


def known_uses(source_id: int) -> dict[str, Use]:
    """Return which pairs of a source have which fallback, as it was stored."""
    return {
        row.symbol: Use(
            row.fallback_id, (row.bid_offset, row.ask_offset), row.own_at, row.own_since
        )
        for row in FallbackUse.objects.filter(data_connection_id=source_id)
    }


def used_by_others(source_ids: Collection[int]) -> list[int]:
    """Return the sources that use a fallback by what is stored, without these."""
    others = FallbackUse.objects.exclude(data_connection_id__in=source_ids)
    return sorted(set(others.values_list("data_connection_id", flat=True)))


def keep_uses(source_id: int, before: Mapping[str, Use], after: Mapping[str, Use]) -> None:
    """Store what changed, for the next process and for pages; write the events of it."""
    ended = {pair: use for pair, use in before.items() if pair not in after}
    FallbackUse.objects.filter(data_connection_id=source_id, symbol__in=ended).delete()
    changed = [
        FallbackUse(
            data_connection_id=source_id, symbol=pair, fallback_id=use.fallback_id,
            bid_offset=use.offsets[0], ask_offset=use.offsets[1], own_at=use.own_at,
            own_since=use.own_since,
        )
        for pair, use in after.items() if use != before.get(pair)
    ]  # fmt: skip
    FallbackUse.objects.bulk_create(
        changed,
        update_conflicts=True,
        unique_fields=["data_connection", "symbol"],
        update_fields=["fallback", "bid_offset", "ask_offset", "own_at", "own_since"],
    )
    began = {
        pair: use
        for pair, use in after.items()
        if pair not in before or before[pair].fallback_id != use.fallback_id
    }
    back = _with_own_prices(source_id, ended)
    record_fallback_changes(
        [*_changes(source_id, back, began=False), *_changes(source_id, began, began=True)]
    )


def _with_own_prices(source_id: int, ended: Mapping[str, Use]) -> dict[str, Use]:
    """Return the pairs whose own prices are back. A fallback that was taken away left its last."""
    if not ended:
        return {}
    own = LatestQuote.objects.filter(
        data_connection_id=source_id, symbol__in=ended, from_fallback=False
    )
    symbols = set(own.values_list("symbol", flat=True))
    return {pair: use for pair, use in ended.items() if pair in symbols}


def _changes(source_id: int, uses: Mapping[str, Use], *, began: bool) -> list[FallbackChange]:
    by_fallback: dict[int, list[str]] = {}
    for pair, use in uses.items():
        by_fallback.setdefault(use.fallback_id, []).append(pair)
    return [FallbackChange(source_id, pk, pairs, began) for pk, pairs in by_fallback.items()]


class FallbackFeed(LiveFeed):
    """The prices that a source has from its fallbacks."""

    def __init__(self, source: DataConnection, stream: FallbackStream) -> None:
        super().__init__(source, stream, to_paper=serves_paper(source))
        self.stream = stream

    def beat(self) -> None:
        """Send the signals without quotes, while a fallback is used: else its source does."""
        if self.stream.uses:
            super().beat()

    def _store(self, fresh: list[Quote], now: datetime) -> None:
        """Nothing: the stream has stored them, and minute bars are of the source's own quotes."""
