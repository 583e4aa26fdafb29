"""Which deals of a MetaTrader 5 position our exits have made, and which others have. Pure.

A deal names no command. Known is its volume; its number, and each exit has the highest number that
was known when it was sent (`SentCommand.after`): what was read before it, it has not made; and its
magic number, which all parts of one execution share. Deals are decided one by one in the order of
their numbers, each with what was known when it was read first. So no later deal, and no other exit
that is sent later, changes what an earlier one decided, also in another process. What was reported
is in the ledger as well (`SentCommand.deals`), and stays. The exits that all functions take are
without those that were sent again (`exits_with_effect`).

Where a deal may be of several exits:
- One that has its whole volume comes before one of which it would be a part.
- The newest is first. An older one has shown no effect for a while, and may have been given up: the
  newer one would be taken for absent, and close a second time.
- An exit without deals is unknown, not absent, while a close since it was sent may be a part of it
  (`may_be_made_in_part`), also one by hand: a person has to decide, since sending it again might
  close a second time.
"""

from collections.abc import Container, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from brokers.dwx.mt5_deals import Deal, HeldPosition
from brokers.dwx.sent_commands import SentCommand, most_likely_first
from brokers.dwx.sync_marks import WaitingClose

PARTS_WITHIN = timedelta(seconds=10)  # after an exit was sent its parts are awaited


def deals_by_exit(held: HeldPosition, exits: Sequence[SentCommand]) -> dict[int, list[Deal]]:
    """Return which deals each exit of ours has made of a position, by the command's number.

    An exit may have been executed in parts: it has them once they are its volume."""
    deals = {one.number: one for one in held.closed}
    found = {}
    for command in exits:
        if parts := [deals[number] for number in command.deals if number in deals]:
            found[command.number] = parts
    undecided = [one for one in most_likely_first(exits) if not one.deals]
    free: list[Deal] = []
    for deal in sorted(held.closed, key=lambda one: one.number):
        if not deal.is_unmarked_close or deal.number in held.reported:
            continue
        free.append(deal)
        may_be = [one for one in undecided if one.may_have_made(deal.number, deal.lots)]
        whole = [(one, [deal]) for one in may_be if one.lots == deal.lots]
        in_parts = ((one, parts) for one in may_be if (parts := _last_parts(free, one)))
        for command, parts in (*whole, *in_parts):
            found[command.number] = parts
            undecided.remove(command)
            free = [one for one in free if one not in parts]
            break
    return found


def _last_parts(deals: Sequence[Deal], command: SentCommand) -> list[Deal]:
    """Return the last deals if they have an exit's volume. Others, such as those by hand, may be
    between them, with another magic number."""
    parts: list[Deal] = []
    missing = command.lots
    for deal in reversed(deals):
        if deal.number <= command.after or missing <= 0:
            break
        if deal.magic == deals[-1].magic:
            parts.insert(0, deal)
            missing -= deal.lots
    return [] if missing else parts


def closes_by_others(held: HeldPosition, ours: Mapping[int, Sequence[Deal]]) -> list[Deal]:
    """Return the closes of a position that no exit of ours made. ours: of `deals_by_exit`."""
    numbers = {deal.number for parts in ours.values() for deal in parts}
    return [deal for deal in held.closed if deal.number not in numbers]


def may_be_made_in_part(
    held: HeldPosition, exits: Sequence[SentCommand], command: SentCommand
) -> bool:
    """Whether an exit without deals may have made a part, or one that an older exit has instead.

    What newer exits have does not count: together they closed what they should. Of an exit that
    an older version sent this is not known."""
    ours = deals_by_exit(held, exits)
    newest_first = most_likely_first(exits)
    newer = {
        deal.number
        for one in newest_first[: newest_first.index(command)]
        for deal in ours.get(one.number, ())
    }
    return command.after >= 0 and any(
        deal.is_unmarked_close
        and deal.number not in newer
        and command.may_have_made(deal.number, deal.lots)
        for deal in held.closed
    )


def awaited_parts(
    held: HeldPosition, exits: Sequence[SentCommand], now: datetime
) -> dict[int, WaitingClose]:
    """Return what may be the first part of an exit sent just now, by number: reported as a close by
    others it could not be counted to the exit any more."""
    found: dict[int, WaitingClose] = {}
    ours: Mapping[int, Sequence[Deal]] | None = None
    for command in [one for one in exits if not one.deals]:
        since = datetime.fromtimestamp(command.at, UTC)
        wait = WaitingClose(held.magic, since, since + PARTS_WITHIN)
        if not wait.waits(now):
            continue
        ours = deals_by_exit(held, exits) if ours is None else ours
        if command.number in ours:
            continue
        for deal in closes_by_others(held, ours):
            is_open = deal.is_unmarked_close and deal.number not in held.reported
            if is_open and command.may_have_made(deal.number, deal.lots):
                found[deal.number] = wait
    return found


def unstored_deals(
    held: HeldPosition,
    exits: Sequence[SentCommand],
    entry: SentCommand | None,
    waiting: Container[int],
) -> dict[int, tuple[int, ...]]:
    """Return the deals of each command of a position, by its number, where they are decided and the
    ledger does not have them. waiting: numbers of the deals that are not decided yet."""
    if all(deal.number in held.reported for deal in held.closed):
        return {}
    ours = deals_by_exit(held, exits)
    stored = {one.number for one in exits if one.deals}
    found = {
        number: tuple(deal.number for deal in parts)
        for number, parts in ours.items()
        if number not in stored
    }
    new = tuple(
        deal.number
        for deal in closes_by_others(held, ours)
        if deal.number not in held.reported and deal.number not in waiting
    )
    if entry and new and not held.remaining_lots:  # else they are not reported either
        found[entry.number] = (*entry.deals, *new)
    return found
