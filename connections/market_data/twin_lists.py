"""The instrument list of a paper twin: the paper broker's symbols with the live broker's sizes.

A twin is sized as its live account is, in the same lot steps. The paper broker checks quantities by
its own steps, so the coarser of both counts. All twins of accounts with the same list share one.
"""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from uuid import UUID

from brokers.types import Instrument as BrokerInstrument
from connections.models import Instrument, SubscriptionTwin

SEPARATOR = "+"
LONGEST = 80  # the column's


def book_for(connection_id: UUID, book: str) -> str:
    """Return the book that an account uses: `book`, or for a paper twin one of its own."""
    link = SubscriptionTwin.objects.filter(connection=connection_id).select_related(
        "subscription__connection"
    ).first()  # fmt: skip
    live = link.subscription.connection.instrument_book if link else ""
    named = f"{book}{SEPARATOR}{live}"
    return named if live and book == "paper" and len(named) <= LONGEST else book


def brokers_book(book: str) -> str:
    """Return the book that the broker itself lists: that of a twin without the live one."""
    own, separator, _ = book.partition(SEPARATOR)
    return own if separator and own == "paper" else book


def with_live_sizes(book: str, listed: Sequence[BrokerInstrument]) -> Sequence[BrokerInstrument]:
    """Return what a broker lists, in a twin's book with the sizes of the live broker."""
    if brokers_book(book) == book:
        return listed
    live = {
        one.pair: one
        for one in Instrument.objects.filter(book=book.partition(SEPARATOR)[2], is_preferred=True)
    }
    return [
        _sized_as(one, live[one.pair]) if one.pair in live else one for one in listed
    ]  # fmt: skip


def has_live_sizes(paper: Instrument, live: Instrument) -> bool:
    """Whether a twin's instrument is sized exactly as the live account's."""
    names = ("quantity_min", "quantity_step", "contract_size")
    return all(getattr(paper, name) == getattr(live, name) for name in names)


def _sized_as(paper: BrokerInstrument, live: Instrument) -> BrokerInstrument:
    step = coarser_step(paper.quantity_step, live.quantity_step)
    least = max(paper.quantity_min, live.quantity_min)
    most = min(paper.quantity_max, live.quantity_max or paper.quantity_max)
    return replace(
        paper, quantity_step=step, quantity_min=-(-least // step) * step,
        quantity_max=max(most, least), contract_size=live.contract_size or paper.contract_size,
    )  # fmt: skip


def coarser_step(paper: Decimal, live: Decimal) -> Decimal:
    """Return the smallest step that fits both; the paper broker's, if none below 1,000 steps does.

    >>> coarser_step(Decimal(1000), Decimal(2500))
    Decimal('5000')
    """
    for times in range(1, 1001):
        step = paper * times
        if step >= live and step % live == 0:
            return step
    return paper
