"""Environment variables that became operational settings: a leftover one must not be ignored.

`python -m config.moved_settings [FILE]` prints the document of settings that they mean. It reads
nothing else, needs no packages, and runs although no process of ours starts with them.
"""

import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.operational.kinds import QUOTA_NUMBERS, Kind
from common.operational.reading import KEYS, InvalidDocumentError, read

MOVED = {
    "FILLCAST_ABSENCE_GAP_SECONDS": "execution.absence_gap_seconds",
    "FILLCAST_API_ANONYMOUS_RATE": "api_rates.anonymous",
    "FILLCAST_API_OPERATE_RATE": "api_rates.operate",
    "FILLCAST_API_PUBLISH_RATE": "api_rates.publish",
    "FILLCAST_API_READ_RATE": "api_rates.read",
    "FILLCAST_API_TRADE_RATE": "api_rates.trade",
    "FILLCAST_BROKER_MAINTENANCE_WINDOWS": "maintenance.broker_windows",
    "FILLCAST_BROKER_NETWORKS": "networks.broker_networks",
    "FILLCAST_BUNDLE_SIZE": "execution.bundle_size",
    "FILLCAST_CALL_TIMEOUT_SECONDS": "execution.call_timeout_seconds",
    "FILLCAST_DISPATCH_SLOTS": "execution.dispatch_slots",
    "FILLCAST_GATEWAY_OWNERS": "networks.gateway_owners",
    "FILLCAST_LOG_LEVEL": "messages.log_level",
    "FILLCAST_LOOKUP_MAX_INTERVAL_SECONDS": "execution.lookup_max_interval_seconds",
    "FILLCAST_MARKET_ENTRY_MAX_AGE_SECONDS": "execution.market_entry_max_age_seconds",
    "FILLCAST_OUTBOUND_NETWORKS": "networks.outbound_networks",
    "FILLCAST_POLL_SECONDS": "execution.poll_seconds",
    "FILLCAST_PUSH_CONTACT": "messages.push_contact",
    "FILLCAST_QUOTAS": "users.quotas",
    "FILLCAST_RETENTION_AUDIT_RUN_DAYS": "retention.audit_run_days",
    "FILLCAST_RETENTION_DELIVERY_DAYS": "retention.delivery_days",
    "FILLCAST_RETENTION_EVENT_DAYS": "retention.event_days",
    "FILLCAST_RETENTION_LOG_DAYS": "retention.log_days",
    "FILLCAST_RETENTION_ORDER_DAYS": "retention.order_days",
    "FILLCAST_RETENTION_WEBHOOK_DAYS": "retention.webhook_days",
    "FILLCAST_SEND_DEADLINE_SECONDS": "execution.send_deadline_seconds",
    "FILLCAST_SESSION_IDLE_SECONDS": "execution.session_idle_seconds",
    "FILLCAST_SESSION_LANES": "execution.session_lanes",
    "FILLCAST_SIGN_UP": "users.sign_up",
    "FILLCAST_SLIPPAGE_ALERT_BASIS_POINTS": "fill_tracking.slippage_alert_threshold_basis_points",
    "FILLCAST_SLIPPAGE_ALERT_PIPS": "fill_tracking.slippage_alert_threshold_pips",
    "FILLCAST_STAFF_SECOND_FACTOR": "users.staff_second_factor",
    "FILLCAST_STUCK_ANSWER_SECONDS": "execution.stuck_answer_seconds",
    "FILLCAST_STUCK_SECONDS": "execution.stuck_seconds",
    "FILLCAST_UNKNOWN_ALERT_SECONDS": "execution.unknown_alert_seconds",
    "FILLCAST_UPDATE_INTERVAL_SECONDS": "fill_tracking.update_interval_seconds",
}
"""The variable: the path of the setting."""


USAGE = """\
python -m config.moved_settings [FILE]

Prints the operational settings, as JSON, that replace environment variables of an earlier release:
those of this process, or of a file with lines NAME=value (- is standard input). Nothing is changed.
Name what it prints in FILLCAST_SETTINGS_SOURCE, then remove the variables: docs/upgrades.md."""
_LINE = re.compile(
    r"(?:export\s+)?([A-Z][A-Z0-9_]*)\s*=\s*(?:'([^']*)'|\"([^\"]*)\"|(.*?))(?:\s+#.*)?"
)
_SWITCH = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


def describe_moved(name: str) -> str:
    """Return the error for a variable that has no effect any more."""
    return (
        f"{name} is set, but it is the operational setting {MOVED[name]} now."
        " `python -m config.moved_settings` prints the document of all such variables: name it in"
        " FILLCAST_SETTINGS_SOURCE, then remove the variable (docs/upgrades.md)."
    )


def document_of(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings of the variables that are set. Raises ValueError with every fault."""
    found: dict[str, Any] = {}
    faults = []
    for name, path in MOVED.items():
        if not (text := environ.get(name, "").strip()):
            continue
        key = KEYS[path]
        try:
            value = key.kind.write(key.kind.read(_as_json(text, key.kind)))
        except (ValueError, TypeError, KeyError):
            faults.append(f"{name} is {text!r}; {path} may be {key.kind.expected}.")
        else:
            found.setdefault(key.group, {})[key.name] = value
    if not faults:
        try:
            read(found)
        except InvalidDocumentError as error:
            faults = list(map(str, error.faults))
    if faults:
        raise ValueError("\n".join(faults))
    return found


def _as_json(text: str, kind: Kind) -> Any:
    """Return the text of a variable as a document has it."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if kind is QUOTA_NUMBERS:
        pairs = [part.partition("=")[::2] for part in parts]
        if len(dict(pairs)) < len(pairs):
            raise ValueError(text)
        return {name.strip(): number.strip() for name, number in pairs}
    if kind.is_switch:
        return _SWITCH[text.lower()]
    return parts if kind.is_list else text


def variables_in(text: str) -> dict[str, str]:
    """Return the variables of a file of lines NAME=value."""
    found = {}
    for line in text.splitlines():
        if match := _LINE.fullmatch(line.strip()):
            found[match[1]] = next((one for one in match.groups()[1:] if one is not None), "")
    return found


def main(arguments: list[str]) -> None:
    """Print the document of the variables that are set."""
    if len(arguments) > 1 or any(one != "-" and one.startswith("-") for one in arguments):
        sys.exit(USAGE)
    try:
        environ: Mapping[str, str] = os.environ
        if arguments:
            is_input = arguments[0] == "-"
            environ = variables_in(
                sys.stdin.read() if is_input else Path(arguments[0]).read_text(encoding="utf-8")
            )
        document = document_of(environ)
    except OSError as error:
        sys.exit(f"{arguments[0]} cannot be read: {error}.")
    except ValueError as error:  # also text that is not UTF-8
        sys.exit(f"Correct these first; nothing is printed:\n{error}".replace("\n", "\n  "))
    names = [name for name in MOVED if environ.get(name, "").strip()]
    print(json.dumps(document))
    print(f"{len(names)} variables: {', '.join(names) or 'none is set'}.", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
