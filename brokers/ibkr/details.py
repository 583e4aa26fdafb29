"""What IBKR says of a symbol's contract."""

from typing import Any

from brokers.base import ReadFailed, Rejected
from brokers.budgets import Rank
from brokers.ibkr.contracts import BadSymbolError
from brokers.ibkr.ear import AnswerError
from brokers.ibkr.orders import contract_of
from brokers.ibkr.session import Session
from common.codes import Code


async def details_of(session: Session, symbol: str, rank: Rank = Rank.READ) -> Any:
    """Return what IBKR says of a symbol's contract, asked once in a session.

    rank: of what cannot leave before. Raises Rejected where there is none (or not one that we can
    price), ReadFailed.
    """
    if symbol in session.details:
        return session.details[symbol]
    try:
        contract = contract_of(symbol, session.place.settings)
        found = await session.ask(
            lambda client, n: client.reqContractDetails(n, contract), rank=rank
        )
    except BadSymbolError as error:
        raise Rejected(Code.UNKNOWN_SYMBOL_AT_BROKER, str(error)) from error
    except AnswerError as error:
        if error.number == 200:
            raise Rejected(Code.UNKNOWN_SYMBOL_AT_BROKER, f"{symbol}: {error}") from error
        raise ReadFailed(Code.BROKER_UNREACHABLE, str(error)) from error
    if len(found) != 1:
        raise Rejected(Code.UNKNOWN_SYMBOL_AT_BROKER, f"{symbol} means {len(found)} contracts")
    if found[0].priceMagnifier not in (0, 1):  # pence, cents: its money is not its price
        raise Rejected(Code.UNKNOWN_SYMBOL_AT_BROKER, f"{symbol} is priced in parts of its money")
    session.details[symbol] = found[0]
    session.names[found[0].contract.conId] = symbol
    return found[0]
