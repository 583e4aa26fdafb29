"""Whose account a key is, by the exchange's own number of it. Raises ccxt's errors or ValueError.

A key is of one account for ever, so each client asks once. An owner who enters another key may
enter one of another account: there nothing of ours is open, and no look-up finds what was sent.
"""

import importlib
from collections.abc import Mapping
from typing import Any

from brokers.base import ReadFailed
from brokers.crypto.client import Client
from brokers.crypto.guarded_call import as_current, priority_read
from brokers.types import ConnectionSpec
from common.clocks import machine_time
from common.reason_codes import Code

# ccxt's method, its parameters, and where the number stands in its answer: what each exchange calls
# the very account of the key, a sub-account's own. Binance spot "Account information": uid; the
# futures' own account has none, its keys may read spot's. Bybit v5 "Get API Key Information":
# userID. OKX "Get account configuration": uid, in copies. Kraken documents none.
# Bybit's example has a userIDInt64 of "0" beside it: whichever is not 0 counts.
IDENTITY_REQUESTS: Mapping[str, tuple[str, Mapping[str, Any], tuple[str | int, ...]]] = {
    "binance": ("privateGetAccount", {"omitZeroBalances": "true"}, ("uid",)),
    "bybit": ("privateGetV5UserQueryApi", {}, ("result", "userID")),
    "okx": ("privateGetAccountConfig", {}, ("data", 0, "uid")),
}

UNAVAILABLE_SECONDS = 3600.0
NONE = (None, "", "0", 0)


async def identity(client: Client) -> str:
    """Return an id of the key's account; spot and perpetuals differ. '': the exchange has none."""
    if client.identity is None:
        client.identity = await _request(client)
    return client.identity


async def _request(client: Client) -> str:
    if client.rules.name not in IDENTITY_REQUESTS:
        return ""
    method, params, path = IDENTITY_REQUESTS[client.rules.name]
    answer = await getattr(client.exchange, method)(dict(params))
    *above, last = path
    for step in above:
        answer = answer[step]
    number = next((n for n in (answer.get(last), answer.get(f"{last}Int64")) if n not in NONE), "")
    if not str(number).isalnum():
        raise ValueError(f"{client.rules.name} does not report the owner of the key")
    sandbox = "sandbox " if client.settings.sandbox else ""
    return f"{sandbox}{number} {client.settings.market}"


async def identity_if_available(client: Client) -> str:
    """Return `identity` of a valid key; '' if the key may not read it, such as a futures-only key.

    Such a key trades, and we do not notice when a key of another account replaces it. After a
    refusal it is not requested for an hour: exchanges count refusals, and polls come every
    minute."""
    if machine_time() < client.unavailable_until:
        return ""
    try:
        return await identity(client)
    except importlib.import_module("ccxt").AuthenticationError:
        client.unavailable_until = machine_time() + UNAVAILABLE_SECONDS
        return ""


def forget_unavailable(client: Client) -> None:
    """Let the next read request the identity: the owner may have permitted it to the key."""
    client.unavailable_until = 0.0


def confirmed_identity(spec: ConnectionSpec) -> str:
    """Return the stored identity if it was read with this key; '' if it must be requested."""
    return spec.identity if spec.is_identity_sure else ""


async def require_tested_account(
    client: Client, spec: ConnectionSpec, urgent: bool = False
) -> Client:
    """Return the client if its key is of the account that was tested. Raises ReadFailed
    ACCOUNT_MISMATCH.

    A key whose identity was read before makes no request: an exit on futures needs no spot call.
    urgent: an exit or a cancel waits for it; it goes before entries, and no poll goes before it.
    """
    if not spec.identity or confirmed_identity(spec):
        return client
    if (found := await _identity_in_time(client, urgent)) != spec.identity:
        detail = f"{found} instead of {spec.identity} at {client.rules.name}"
        raise ReadFailed(Code.ACCOUNT_MISMATCH, detail)
    return client


async def _identity_in_time(client: Client, urgent: bool) -> str:
    if not urgent:
        return await identity(client)
    with as_current(priority_read()):
        return await identity(client)
