"""IBKR's market rules: the price steps of a contract at the exchange to which its orders go.

`minTick` is the smallest step at any price; what counts at a price is in the rule. A rule has a
number, and the contract's details have one number for each of its exchanges.
"""

import logging
from decimal import Decimal
from typing import Any

from brokers.base import ReadFailed
from brokers.ibkr import parse
from brokers.ibkr.session import Session
from brokers.ibkr.wrapper import AnswerError, rule_key
from brokers.price_rounding import PriceGrid
from brokers.rate_limits import Priority

log = logging.getLogger(__name__)


async def grid_of(session: Session, details: Any, priority: Priority) -> PriceGrid:
    """Return the price steps of a contract, read once in a session.

    If TWS has no rule for it, the listed tick counts at each price. Raises ReadFailed without an
    answer, but not for an exit: that goes with the listed tick, and IBKR decides.
    """
    number = rule_number(details)
    if number is None:
        return listed_grid(details)
    if (known := session.market_rules.get(number)) is not None:
        return known
    try:
        (increments,) = await session.request(
            lambda client, _: client.reqMarketRule(number),
            key=rule_key(number),
            priority=priority,
        )
        grid = parse.price_grid(increments)
    except (AnswerError, ValueError, ArithmeticError) as error:
        log.warning("ibkr: no market rule %s: %r", number, error)
        return session.market_rules.setdefault(number, listed_grid(details))
    except ReadFailed:
        if priority is Priority.EXIT:
            return listed_grid(details)
        raise
    session.market_rules[number] = grid
    return grid


def known_grid(session: Session, details: Any) -> PriceGrid:
    """Return the price steps that are known of a contract, without a request."""
    number = rule_number(details)
    known = session.market_rules.get(number) if number is not None else None
    return known or listed_grid(details)


def rule_number(details: Any) -> int | None:
    """Return the number of the rule that counts at the contract's exchange; None: none is listed.

    The two lists of the details belong together, item by item.
    """
    exchanges = str(details.validExchanges or "").split(",")
    numbers = str(details.marketRuleIds or "").split(",")
    by_exchange = dict(zip(exchanges, numbers, strict=False))
    found = by_exchange.get(details.contract.exchange, "")
    if not found and len(set(numbers)) == 1:
        found = numbers[0]
    return int(found) if found.isdecimal() else None


def listed_grid(details: Any) -> PriceGrid:
    """Return the listed smallest tick as the step of every price."""
    return PriceGrid(((Decimal(0), Decimal(str(details.minTick))),))
