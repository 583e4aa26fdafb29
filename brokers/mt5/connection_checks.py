"""The checks of a connection test, on the terminal's own thread. They contain no secrets."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from brokers.base import BrokerError
from brokers.mt5.lots import is_tradable
from brokers.mt5.parse import mode_of
from brokers.mt5.session import Terminal
from brokers.mt5.verified_logins import TerminalUnavailableError
from brokers.types import Check, CheckResult, ConnectionSpec
from common.reason_codes import Code

OK, WARN, FAIL = CheckResult.OK, CheckResult.WARN, CheckResult.FAIL
SKEW = timedelta(seconds=5)
SLOW_MS = 500.0
HINTS: dict[Code, str] = {
    Code.CREDENTIALS_REFUSED: "Enter login, password and server again, as in the terminal's own"
    " login window; spell the server's name exactly.",
    Code.UNKNOWN_ACCOUNT: "Enter the account's number, digits only.",
    Code.FIELD_INVALID: "Write server_timezone as Europe/Athens, UTC+2 or America/New_York+7.",
}
START_TERMINAL = (
    "Start the terminal on the worker's machine, as the worker's user, and log in once by hand."
)


def run(terminal: Terminal, spec: ConnectionSpec) -> list[Check]:
    """Run the checks; stop at the first failure without which no other check can run."""
    try:
        account_info = terminal.ensure_account(spec)
        terminal_info = terminal.api.terminal_info()
        build = terminal.api.version()
        return [
            Check("terminal", OK, f"build {build[1] if build else '?'}, connected"),
            Check("login", OK, f"account {account_info.login} at {account_info.server}"),
            *_permissions(account_info, terminal_info),
            _mode(spec, account_info),
            *_symbols(terminal, spec),
            _clock(terminal, spec, account_info),
            _ping(terminal_info),
        ]
    except TerminalUnavailableError as error:
        name = "login" if error.code in HINTS else "terminal"
        return [Check(name, FAIL, error.detail, HINTS.get(error.code, START_TERMINAL))]
    except BrokerError as error:
        return [Check("terminal", FAIL, error.detail, "Check the terminal, and restart it.")]


def unresponsive(detail: str) -> Check:
    """Return the check of a terminal that does not answer."""
    return Check("terminal", FAIL, detail, "Restart the terminal and its worker.")


def _permissions(account_info: Any, terminal_info: Any) -> list[Check]:
    permissions: Sequence[tuple[str, bool, str]] = (
        (
            "algo trading",
            terminal_info.trade_allowed,
            "Press Algo Trading in the terminal, and switch off 'disable when account changes'.",
        ),
        (
            "Python API",
            not terminal_info.tradeapi_disabled,
            "Switch off 'Disable algorithmic trading via external Python API' in the options.",
        ),
        (
            "account may trade",
            account_info.trade_allowed,
            "Log in with the master password: the investor's password is read-only.",
        ),
        ("account may trade by program", account_info.trade_expert, "Ask the broker to allow it."),
    )
    return [
        Check(name, OK, "allowed") if is_fine else Check(name, FAIL, "not allowed", hint)
        for name, is_fine, hint in permissions
    ]


def _mode(spec: ConnectionSpec, account_info: Any) -> Check:
    mode = mode_of(account_info)
    configured = spec.settings.get("position_mode")
    if configured and configured != mode:
        return Check(
            "position mode", FAIL, f"the account is {mode}, but the setting is {configured}",
            "Correct position_mode in the connection's settings, or leave it empty.",
        )  # fmt: skip
    return Check("position mode", OK, str(mode))


def _symbols(terminal: Terminal, spec: ConnectionSpec) -> list[Check]:
    api = terminal.api
    listed = terminal.rows(api.symbols_get, count=api.symbols_total)
    names = {one.name for one in listed}
    if missing := sorted(set(spec.settings.get("symbols") or {}) - names):
        hint = "Correct the names in the connection's symbols."
        return [Check("symbols", FAIL, f"not listed: {', '.join(missing[:5])}", hint)]
    tradable = [one for one in listed if is_tradable(one)]
    if not tradable:
        return [Check("symbols", FAIL, "none can be traded", "Ask the broker which it allows.")]
    unusual = [one.name for one in tradable if not 0 < one.volume_step <= one.volume_min]
    volumes = Check("volume limits", OK, f"least {min(one.volume_min for one in tradable):g} lots")
    if unusual:
        volumes = Check(
            "volume limits", WARN, f"unusual steps: {', '.join(unusual[:5])}",
            "The broker may reject our quantities of such symbols.",
        )  # fmt: skip
    return [Check("symbols", OK, f"{len(tradable)} of {len(listed)} can be traded"), volumes]


def _clock(terminal: Terminal, spec: ConnectionSpec, account_info: Any) -> Check:
    time = terminal.sample_clock(spec, account_info, every=0.0)
    if time.zone is None:
        return Check(
            "clock", WARN, "the server's time zone is not known yet: no new tick has arrived",
            "Set server_timezone (most brokers: America/New_York+7), or test again when the market"
            " is open.",
        )  # fmt: skip
    if time.skew is None:
        return Check("clock", OK, "no new tick to compare with")
    seconds = time.skew.total_seconds()
    if abs(time.skew) > SKEW:
        return Check(
            "clock", WARN, f"the latest tick is {seconds:+.0f} s from our clock",
            "Set this machine's clock by NTP, and check server_timezone (its summer time).",
        )  # fmt: skip
    return Check("clock", OK, f"{seconds:+.1f} s")


def _ping(terminal_info: Any) -> Check:
    milliseconds = terminal_info.ping_last / 1000  # microseconds
    if milliseconds > SLOW_MS:
        hint = "Run the terminal nearer the server."
        return Check("connection", WARN, f"{milliseconds:.0f} ms", hint)
    return Check("connection", OK, f"{milliseconds:.0f} ms")
