"""The checks of the paper broker's connection test."""

from datetime import datetime

import psycopg

from brokers.paper import reads
from brokers.types import Check, CheckResult, ConnectionSpec
from common.clocks import market_now

OK, WARN, FAIL = CheckResult.OK, CheckResult.WARN, CheckResult.FAIL


def run(spec: ConnectionSpec) -> list[Check]:
    """Run the checks; stop at the first failure that makes the others pointless."""
    try:
        access = reads.account_access([spec.account]).get(spec.account)
    except psycopg.Error as error:
        return [Check("reach", FAIL, type(error).__name__, "Check the database.")]
    if access is not None and access.unreachable:
        return [Check("reach", FAIL, "no answer", "Take the fault off the paper account.")]
    checks = [Check("reach", OK, "the paper broker answers")]
    if access is None:
        hint = "An operator opens paper accounts. If the number is wrong, add a new connection."
        return [*checks, Check("account", FAIL, f"no account {spec.account}", hint)]
    if not access.admits(spec.credentials.get("password", "")):
        return [*checks, Check("password", FAIL, "not accepted", "Enter the password again.")]
    checks.append(Check("password", OK, "accepted"))
    return [*checks, *_of_account(spec, access.account_id), _prices()]


def _of_account(spec: ConnectionSpec, account_id: int) -> list[Check]:
    state = reads.account_state(account_id)
    allowed = Check("trading", OK, "allowed")
    if not state.trading_allowed:
        allowed = Check("trading", FAIL, "not allowed", "Allow trading on the paper account.")
    mode = Check("position mode", OK, state.position_mode)
    configured = spec.settings.get("position_mode")
    if configured and configured != state.position_mode:
        mode = Check(
            "position mode",
            FAIL,
            f"the account is {state.position_mode}, the setting is {configured}",
            "Correct position_mode in the connection's settings.",
        )
    keeps_stops = reads.keeps_stops(account_id)
    configured_kept = bool(spec.settings.get("native_stops", True))
    stops = Check("native stops", OK, "kept by the broker" if keeps_stops else "kept by us")
    if keeps_stops != configured_kept:
        stops = Check(
            "native stops", FAIL,
            f"the account's is {keeps_stops}, the setting is {configured_kept}",
            "Correct native_stops in the connection's settings.",
        )  # fmt: skip
    return [allowed, mode, stops]


def _prices() -> Check:
    latest: dict[str, datetime | None] = reads.last_prices()
    quoted = [at for at in latest.values() if at is not None]
    if not quoted:
        return Check("prices", WARN, "no symbol is quoted", "Start the prices process.")
    age = (market_now() - max(quoted)).total_seconds()
    if age > 600:
        return Check("prices", WARN, f"{age:.0f} s old", "Start the prices process.")
    return Check("prices", OK, f"{len(quoted)} of {len(latest)} symbols quoted")
