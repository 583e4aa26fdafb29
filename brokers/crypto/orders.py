"""Calls that change something: one flight each, and what its end means."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import TypeVar

from brokers.base import BrokerError, NotSent, OutcomeUnknown, ReadFailed, Rejected
from brokers.crypto import codes, response
from brokers.crypto.client import Client
from brokers.crypto.codes import Meaning, Verdict
from brokers.crypto.exchanges import Dialect, rules
from brokers.crypto.guarded_call import GuardedCall, as_current
from brokers.redaction import readable_excerpt, storable, without_secrets
from brokers.types import ConnectionSpec
from common.reason_codes import Code

T = TypeVar("T")
CALL_SECONDS = 15.0  # ccxt has the reply's time-out; this ends whatever it does not see
READ_SECONDS = 30.0
BACKOFF_SECONDS = 10.0
RATE_LIMIT_CLASSES = frozenset({"RateLimitExceeded", "DDoSProtection"})
MAX_DETAIL_LENGTH = 1500  # characters of an answer that are kept
SIGNED = re.compile(r"(?i)(signature|sign)=[^&\s\"']+")


class DuplicateId(Exception):
    """The exchange has an order with this client order id."""


class NoSuchOrder(Exception):
    """The exchange has no such order, or it has ended."""


async def send(
    client: Client, spec: ConnectionSpec, flight: GuardedCall, call: Callable[[], Awaitable[T]]
) -> T:
    """Make a call that changes something. `call` is awaited once.

    Raises NotSent, Rejected, OutcomeUnknown, DuplicateId or NoSuchOrder.
    """
    try:
        async with asyncio.timeout(max(CALL_SECONDS, client.settings.reply_timeout + 5)):
            with as_current(flight):
                return await call()
    except BrokerError:
        raise
    except Exception as error:  # whatever ccxt makes of it: what has left decides
        raise _outcome_of_error(client, spec, flight, error) from error


def _outcome_of_error(
    client: Client, spec: ConnectionSpec, flight: GuardedCall, error: Exception
) -> BrokerError | DuplicateId | NoSuchOrder:
    """What a failed call means."""
    detail = redact(_response_excerpt(flight, spec) or str(error) or type(error).__name__, spec)
    if not flight.left or _never_written(error):
        if flight.refused is not None:
            return flight.refused
        return _not_sent(error, detail)
    verdict = interpret(client, flight, error)
    if verdict.code is Code.RATE_LIMITED:
        client.budgets.back_off(BACKOFF_SECONDS, everybody=False)
    if verdict.code is Code.BROKER_CLOCK or _is_rejected_by_exchange(client, flight, verdict):
        client.clock.doubt()
    match verdict.means:
        case Meaning.REJECTED:
            return Rejected(verdict.code, detail)
        case Meaning.NOT_SENT:
            return NotSent(verdict.code, detail)
        case Meaning.DUPLICATE:
            return DuplicateId(detail)
        case Meaning.MISSING if flight.again:
            return NoSuchOrder(detail)
    return OutcomeUnknown(Code.REPLY_LOST, detail)


def _response_excerpt(flight: GuardedCall, spec: ConnectionSpec) -> str:
    """What came back; what is no JSON may be the beginning of it."""
    if flight.half:
        return f"Half an answer came: {readable_excerpt(flight.half, spec.credentials)}"
    if response.is_json(flight.body):
        return flight.body
    return readable_excerpt(flight.body.encode("utf-8", "backslashreplace"), spec.credentials)


def _is_rejected_by_exchange(client: Client, flight: GuardedCall, verdict: Verdict) -> bool:
    """Whether the exchange itself says no for a reason that proves nothing. It may be the order's
    time: Kraken has words for a deadline that has passed, which were not read anywhere."""
    error_found = response.read_error(client.rules.dialect, flight.body)
    return verdict is codes.UNKNOWN and error_found is not None


def _not_sent(error: Exception, detail: str) -> BrokerError:
    """Nothing has left: ccxt refused it by itself, or there was no way to the exchange."""
    found = codes.verdict_by_class(_names(error))
    if found is not None and found.means is Meaning.REJECTED:
        return Rejected(found.code, detail)
    return NotSent(Code.NOT_CONNECTED, detail)


def _never_written(error: BaseException | None) -> bool:
    """Whether aiohttp found the line closed when it was to write the one frame of the request: the
    exchange ended an idle connection. Source: `StreamWriter._write` in aiohttp 3.14, which looks
    before it writes; headers and body are one write."""
    while error is not None:
        error_found = str(error)
        if (
            type(error).__name__ == "ClientConnectionResetError"
            and "closing transport" in error_found
        ):
            return True
        error = error.__cause__
    return False


def interpret(client: Client, flight: GuardedCall, error: Exception) -> Verdict:
    """What an answer proves. Only the exchange's own envelope counts, by a code that stands in our
    tables, or a status that its reference names; a gateway's page, half an answer, silence and what
    ccxt makes of a code that we do not know prove nothing."""
    dialect, names = client.rules.dialect, _names(error)
    if flight.status >= 500:
        return codes.UNKNOWN
    exchange_error = response.read_error(dialect, flight.body)
    if exchange_error is not None and (
        found := codes.verdict_of(dialect, exchange_error.code, exchange_error.message)
    ):
        return found
    if flight.status in codes.BUSY_STATUSES.get(dialect, ()):
        return Verdict(Meaning.NOT_SENT, Code.RATE_LIMITED)
    if flight.again and codes.verdict_by_class(names) is codes.MISSING:
        return codes.MISSING  # of a cancel: the order is looked up in any case
    if dialect is Dialect.CCXT and flight.status >= 200 and response.is_json(flight.body):
        return codes.verdict_for_unchecked(names)
    return codes.UNKNOWN


def _names(error: Exception) -> tuple[str, ...]:
    return tuple(kind.__name__ for kind in type(error).__mro__)


def redact(text: str, spec: ConnectionSpec) -> str:
    """The text without keys, secrets and signatures, as a database takes it, and not too long."""
    return storable(SIGNED.sub(r"\1=***", without_secrets(text, spec.credentials)))[
        :MAX_DETAIL_LENGTH
    ]


def unreadable(flight: GuardedCall, spec: ConnectionSpec, why: Exception) -> OutcomeUnknown:
    """An answer came that makes no sense."""
    return OutcomeUnknown(
        Code.REPLY_LOST, redact(f"{why}: {_response_excerpt(flight, spec)}", spec)
    )


ACCOUNT_CODES = frozenset({Code.LIBRARY_MISSING, Code.RATE_LIMITED, Code.ACCOUNT_MISMATCH})
FINAL = frozenset({Code.CREDENTIALS_REFUSED, Code.TRADING_DISABLED})
READ_CODES = FINAL | {Code.RATE_LIMITED, Code.BROKER_CLOCK}


def error_code(error: Exception, dialect: Dialect = Dialect.CCXT) -> Code:
    """Our code for a failed read: what the exchange itself says is wrong, by its own code first.
    ccxt's errors have its name and then its answer as their text."""
    exchange_error = response.read_error(dialect, str(error).partition(" ")[2])
    found = (
        codes.verdict_of(dialect, exchange_error.code, exchange_error.message)
        if exchange_error
        else None
    )
    found = found or codes.verdict_by_class(_names(error))
    return found.code if found is not None and found.code in READ_CODES else Code.BROKER_UNREACHABLE


async def open_for_write(spec: ConnectionSpec, opening: Awaitable[Client]) -> Client:
    """Open an account for a call that changes something; nothing of it has left yet.

    Raises NotSent, or Rejected where the settings or keys cannot work.
    """
    try:
        async with asyncio.timeout(CALL_SECONDS):
            return await opening
    except BrokerError as error:
        wrong = NotSent if error.code in ACCOUNT_CODES else Rejected
        raise wrong(error.code, error.detail) from error
    except Exception as error:
        code = error_code(error, rules(spec.exchange_name).dialect)
        kind = Rejected if code in FINAL else NotSent
        code = Code.NOT_CONNECTED if code is Code.BROKER_UNREACHABLE else code
        raise kind(code, redact(str(error) or type(error).__name__, spec)) from error


async def reading(
    spec: ConnectionSpec, opening: Awaitable[Client], ask: Callable[[Client], Awaitable[T]]
) -> T:
    """Ask something that changes nothing. Raises ReadFailed."""
    client = None
    try:
        async with asyncio.timeout(READ_SECONDS):
            client = await opening
            try:
                return await ask(client)
            except Exception as error:
                if "InvalidNonce" not in _names(error):
                    raise
            # or another process of ours was faster: reads may be repeated
            await client.clock.compare(client.exchange)
            return await ask(client)
    except BrokerError as error:
        raise ReadFailed(error.code, error.detail) from error
    except Exception as error:  # ccxt's many, and an answer that makes no sense
        if client is not None and not RATE_LIMIT_CLASSES.isdisjoint(_names(error)):
            client.budgets.back_off(BACKOFF_SECONDS, everybody=False)
        code = error_code(error, rules(spec.exchange_name).dialect)
        raise ReadFailed(code, redact(f"{type(error).__name__} {error}", spec)) from error
