"""Calls to an exchange: writes with their guard and outcome, and reads."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import TypeVar

from brokers.base import BrokerError, NotSent, OutcomeUnknown, ReadFailed, Rejected, outcome_of
from brokers.crypto import codes, response
from brokers.crypto.client import Client
from brokers.crypto.codes import Meaning, Verdict
from brokers.crypto.exchanges import Envelope, rules
from brokers.crypto.guarded_call import GuardedCall, as_current
from brokers.redaction import readable_excerpt, storable, without_secrets
from brokers.types import ConnectionSpec
from brokers.unlisted_refusals import UnlistedRefusal
from common.reason_codes import Code

T = TypeVar("T")
CALL_SECONDS = 15.0  # ccxt has the time-out of the reply; this is for all else
READ_SECONDS = 30.0
BACKOFF_SECONDS = 10.0
ENTRY_DOUBT_SECONDS = 10.0  # markets that are newer are not loaded again for a refused entry
RATE_LIMIT_CLASSES = frozenset({"RateLimitExceeded", "DDoSProtection"})
MAX_DETAIL_LENGTH = 1500  # characters of an answer that are kept
SIGNED = re.compile(r"(?i)(signature|sign)=[^&\s\"']+")


class DuplicateId(Exception):
    """The exchange has an order with this client order id."""


class NoSuchOrder(Exception):
    """The exchange has no such order, or it has ended."""


class Unchanged(Exception):
    """The order is already as a change would make it."""


async def send(
    client: Client, spec: ConnectionSpec, guarded: GuardedCall, call: Callable[[], Awaitable[T]]
) -> T:
    """Make a call that changes something. `call` is awaited once.

    Raises NotSent, Rejected, OutcomeUnknown, DuplicateId, NoSuchOrder or Unchanged.
    """
    try:
        async with asyncio.timeout(max(CALL_SECONDS, client.settings.reply_timeout + 5)):
            with as_current(guarded):
                return await call()
    except BrokerError:
        raise
    except Exception as error:  # any: ccxt may raise anything; what was sent decides the outcome
        raise _outcome_of_error(client, spec, guarded, error) from error


def _outcome_of_error(
    client: Client, spec: ConnectionSpec, guarded: GuardedCall, error: Exception
) -> BrokerError | DuplicateId | NoSuchOrder | Unchanged:
    """Return the outcome that a failed call means."""
    detail = redact(_response_excerpt(guarded, spec) or str(error) or type(error).__name__, spec)
    if not guarded.may_have_left or _never_written(error):
        if guarded.refusal is not None:
            return guarded.refusal
        return _not_sent(error, detail)
    verdict = interpret(client, guarded, error)
    if verdict.code is Code.RATE_LIMITED:
        client.rate_limits.back_off(BACKOFF_SECONDS, whole_address=False)
    if verdict.code is Code.BROKER_CLOCK or _is_rejected_by_exchange(client, guarded, verdict):
        client.clock.doubt()
    if verdict.means is Meaning.REJECTED and verdict.code in codes.OF_MARKET:
        client.doubt_markets(unless_since=0.0 if guarded.is_urgent else ENTRY_DOUBT_SECONDS)
    match verdict.means:
        case Meaning.REJECTED:
            return Rejected(verdict.code, detail)
        case Meaning.NOT_SENT:
            return NotSent(verdict.code, detail)
        case Meaning.DUPLICATE:
            return DuplicateId(detail)
        case Meaning.MISSING if guarded.is_repeatable:
            return NoSuchOrder(detail)
        case Meaning.UNCHANGED if guarded.is_repeatable:
            return Unchanged(detail)
    is_refusal = _is_unlisted_refusal(client, guarded)
    return (UnlistedRefusal if is_refusal else OutcomeUnknown)(Code.REPLY_LOST, detail)


def _is_unlisted_refusal(client: Client, guarded: GuardedCall) -> bool:
    """Whether the exchange itself has answered with a code that is in no table, nor among those of
    its own time-outs and faults."""
    envelope = client.rules.envelope
    found = response.read_error(envelope, guarded.body)
    return (
        found is not None
        and 200 <= guarded.status < 500
        and codes.is_refusal(envelope, found.code)
        and codes.verdict_of(envelope, found.code, found.message) is None
    )


def _response_excerpt(guarded: GuardedCall, spec: ConnectionSpec) -> str:
    """Return what was received, without secrets; text that is not JSON may be truncated."""
    if guarded.partial_answer:
        excerpt = readable_excerpt(guarded.partial_answer, spec.credentials)
        return f"Only a part of the answer arrived: {excerpt}"
    if response.is_json(guarded.body):
        return guarded.body
    return readable_excerpt(guarded.body.encode("utf-8", "backslashreplace"), spec.credentials)


def _is_rejected_by_exchange(client: Client, guarded: GuardedCall, verdict: Verdict) -> bool:
    """Whether the exchange refused with a code that proves nothing. It may be about the request's
    time: Kraken has such a message for a deadline that has passed."""
    error_found = response.read_error(client.rules.envelope, guarded.body)
    return verdict is codes.UNKNOWN and error_found is not None


def _not_sent(error: Exception, detail: str) -> BrokerError:
    """Return the outcome if nothing was sent: ccxt refused it, or there was no connection."""
    found = codes.verdict_by_class(_names(error))
    if found is not None and found.means is Meaning.REJECTED:
        return Rejected(found.code, detail)
    return NotSent(Code.NOT_CONNECTED, detail)


def _never_written(error: BaseException | None) -> bool:
    """Whether aiohttp found the connection closed before it wrote the request: the exchange had
    closed an idle connection. Source: `StreamWriter._write` in aiohttp 3.14, which checks
    before it writes; headers and body are one write."""
    while error is not None:
        text = str(error)
        if type(error).__name__ == "ClientConnectionResetError" and "closing transport" in text:
            return True
        error = error.__cause__
    return False


def interpret(client: Client, guarded: GuardedCall, error: Exception) -> Verdict:
    """Return what an answer proves. Only the exchange's own envelope counts, with a code that is in
    our tables, or a status that its reference names. A gateway's page, a partial answer, no answer,
    and ccxt's class for an unlisted code prove nothing."""
    envelope, names = client.rules.envelope, _names(error)
    if guarded.status >= 500:
        return codes.UNKNOWN
    exchange_error = response.read_error(envelope, guarded.body)
    if exchange_error is not None and (
        found := codes.verdict_of(envelope, exchange_error.code, exchange_error.message)
    ):
        return found
    if guarded.status in codes.BUSY_STATUSES.get(envelope, ()):
        return Verdict(Meaning.NOT_SENT, Code.RATE_LIMITED)
    if guarded.is_repeatable and codes.verdict_by_class(names) is codes.MISSING:
        return codes.MISSING  # a cancel: the order is looked up in any case
    if envelope is Envelope.CCXT and guarded.status >= 200 and response.is_json(guarded.body):
        return codes.verdict_for_unchecked(names)
    return codes.UNKNOWN


def _names(error: Exception) -> tuple[str, ...]:
    return tuple(base.__name__ for base in type(error).__mro__)


def redact(text: str, spec: ConnectionSpec) -> str:
    """Return a text without keys, secrets and signatures, storable and of limited length."""
    return storable(SIGNED.sub(r"\1=***", without_secrets(text, spec.credentials)))[
        :MAX_DETAIL_LENGTH
    ]


def redact_error(error: Exception, spec: ConnectionSpec) -> str:
    """Return an error's type and text without the connection's secrets."""
    return redact(f"{type(error).__name__} {error}", spec)


def unreadable(guarded: GuardedCall, spec: ConnectionSpec, why: Exception) -> OutcomeUnknown:
    """Return the outcome of a malformed answer."""
    return OutcomeUnknown(
        Code.REPLY_LOST, redact(f"{why}: {_response_excerpt(guarded, spec)}", spec)
    )


ACCOUNT_CODES = frozenset({Code.LIBRARY_MISSING, Code.RATE_LIMITED, Code.ACCOUNT_MISMATCH})
FINAL = frozenset({Code.CREDENTIALS_REFUSED, Code.TRADING_DISABLED})
READ_CODES = FINAL | {Code.RATE_LIMITED, Code.BROKER_CLOCK}


def error_code(error: Exception, envelope: Envelope = Envelope.CCXT) -> Code:
    """Return our code for a failed read: by the exchange's own code first, then by ccxt's class.

    The text of ccxt's errors is the exchange's name and then its answer."""
    exchange_error = response.read_error(envelope, str(error).partition(" ")[2])
    found = (
        codes.verdict_of(envelope, exchange_error.code, exchange_error.message)
        if exchange_error
        else None
    )
    found = found or codes.verdict_by_class(_names(error))
    return found.code if found is not None and found.code in READ_CODES else Code.BROKER_UNREACHABLE


async def open_for_write(spec: ConnectionSpec, opening: Awaitable[Client]) -> Client:
    """Open an account for a call that changes something; nothing of it was sent yet.

    Raises NotSent, or Rejected if the settings or keys cannot work, whatever ccxt raises.
    """

    async def open_in_time() -> Client:
        async with asyncio.timeout(CALL_SECONDS):
            return await opening

    match await outcome_of(open_in_time()):
        case BrokerError() as error:
            error_class = NotSent if error.code in ACCOUNT_CODES else Rejected
            raise error_class(error.code, error.detail) from error
        case Exception() as error:
            code = error_code(error, rules(spec.exchange_name).envelope)
            error_class = Rejected if code in FINAL else NotSent
            code = Code.NOT_CONNECTED if code is Code.BROKER_UNREACHABLE else code
            raise error_class(code, redact(str(error) or type(error).__name__, spec)) from error
        case client:
            return client


async def reading(
    spec: ConnectionSpec,
    opening: Awaitable[Client],
    read: Callable[[Client], Awaitable[T]],
    *,
    backs_off: bool = True,
) -> T:
    """Run a read, once more if its time or number was refused. Raises ReadFailed, whatever ccxt
    raises.

    backs_off: whether all of the account's requests, exits too, wait if there were too many.
    """

    async def read_in_time() -> T:
        async with asyncio.timeout(READ_SECONDS):
            client = await opening
            answer = await outcome_of(_read_or_repeat(client, read))
        if isinstance(answer, Exception):
            if backs_off and not RATE_LIMIT_CLASSES.isdisjoint(_names(answer)):
                client.rate_limits.back_off(BACKOFF_SECONDS, whole_address=False)
            raise answer
        return answer

    match await outcome_of(read_in_time()):
        case BrokerError() as error:
            raise ReadFailed(error.code, error.detail) from error
        case Exception() as error:
            code = error_code(error, rules(spec.exchange_name).envelope)
            raise ReadFailed(code, redact_error(error, spec)) from error
        case answer:
            return answer


async def _read_or_repeat(client: Client, read: Callable[[Client], Awaitable[T]]) -> T:
    answer = await outcome_of(read(client))
    if not isinstance(answer, Exception):
        return answer
    if "InvalidNonce" not in _names(answer):
        raise answer
    # The clock was wrong, or another process used a greater nonce: reads may be repeated.
    await client.clock.compare(client.exchange)
    return await read(client)
