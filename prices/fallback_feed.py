"""Publish the prices of a fallback as a source's own while that one is silent or suspect.

The rules are in `fallback.py`. What is used is stored (`FallbackUse`), so that another process goes
on with it. A quote is written only over the one that the decision was made on: what the source
itself sends at that moment is never replaced.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction

from brokers.types import Quote
from common.clocks import machine_time
from common.sql import database_now
from connections.market_hours import is_market_open
from connections.models import DataConnection
from connections.selectors import serves_paper
from connections.services import FallbackChange, record_fallback_changes, show_fallback_use
from prices.fallback import Anchors, Stored, Use, anchored, next_use, to_publish
from prices.feeds import LiveFeed
from prices.models import FallbackUse, LatestQuote
from prices.services import store_fallback_quotes

LOOK_EVERY = 0.25  # seconds


@dataclass(slots=True)
class FallbackStream:
    """The prices that a source has from its fallbacks. For one thread.

    chain: the fallbacks, the first choice first. pairs: those that the source follows.
    """

    source_id: int
    chain: Sequence[int] = ()
    pairs: frozenset[str] = frozenset()
    uses: dict[str, Use] = field(default_factory=dict)
    _anchors: dict[str, Anchors] = field(default_factory=dict)
    _looked_at: float = float("-inf")

    def due(self, now: datetime) -> list[Quote]:
        """Store and return the quotes of fallbacks that count as the source's now. now: market."""
        if machine_time() - self._looked_at < LOOK_EVERY:
            return []
        self._looked_at = machine_time()
        stored = _stored(self.source_id, self.chain, self.pairs)
        uses, found = self._judge(stored, now)
        with transaction.atomic():
            self._keep(uses)
            written = store_fallback_quotes(self.source_id, found)
        self.uses = uses
        return [quote for quote, _ in found if quote.symbol in written]

    def _judge(
        self, stored: Mapping[str, dict[int, Stored]], now: datetime
    ) -> tuple[dict[str, Use], list[tuple[Quote, datetime]]]:
        """Return what each pair has from now on, and what is to be stored in place of what."""
        at, found, uses = database_now(), list[tuple[Quote, datetime]](), dict[str, Use]()
        for pair, by_source in stored.items():
            row = by_source.get(self.source_id)
            if row is None:
                continue
            others = {pk: by_source[pk] for pk in self.chain if pk in by_source}
            before = self.uses.get(pair)
            anchors = anchored(self._anchors.get(pair, Anchors()), row, others, before, at)
            self._anchors[pair] = anchors
            if before is None and not is_market_open(pair, now):
                continue  # a fallback may quote while the source's market is closed
            if (use := next_use(row, before, others, anchors, at)) is not None:
                uses[pair] = use
            if (quote := to_publish(row, use, others)) is not None:
                found.append((quote, row.received_at))
        return uses, found

    def stop(self) -> None:
        """Use no fallback any more: it was taken away, or its source is switched off."""
        with transaction.atomic():
            self._keep({})
        self.uses = {}

    def _keep(self, uses: dict[str, Use]) -> None:
        if uses != self.uses:
            keep_uses(self.source_id, self.uses, uses)


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
    if began or ended:
        show_fallback_use(source_id, {pair: use.fallback_id for pair, use in after.items()})
        record_fallback_changes(
            [*_changes(source_id, ended, began=False), *_changes(source_id, began, began=True)]
        )


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
