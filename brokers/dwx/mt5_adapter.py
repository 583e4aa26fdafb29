"""MetaTrader 5 by the same files, without Python on Windows: the broker type `mt5-dwx`.

Hedging accounts only: on a netting account entries merge into one position, and the files do not
show which lots belong to which entry. They do not contain the position mode, so the owner sets it.
"""

from dataclasses import replace

from brokers.account_capabilities import Capabilities
from brokers.connection_form import Setting, SettingType
from brokers.dwx import capabilities
from brokers.dwx.adapter import DwxAdapter, valid_root
from brokers.dwx.form import FORM as MT4_FORM
from brokers.dwx.form import seconds_setting
from brokers.dwx.mt_platform import MT5
from brokers.types import ConnectionSpec


def _hedging_error(is_hedging: bool) -> str:
    return "" if is_hedging else "Netting accounts cannot be traded this way."


HEDGING = Setting(
    "hedging", "The account is a hedging one",
    "MetaTrader's title bar shows Hedge. For a netting account use the broker type mt5.",
    SettingType.SWITCH, required=True, check=_hedging_error,
)  # fmt: skip
REOPENING = seconds_setting(
    "reopen", "Reopening within … seconds",
    "Until then the server may open again what it has closed automatically.",
)  # fmt: skip
FORM = replace(
    MT4_FORM,
    settings=(MT4_FORM.settings[0], HEDGING, *MT4_FORM.settings[1:], REOPENING),
    label="MetaTrader 5 by files",
)
__all__ = ["FORM", "capabilities_of", "create"]


def capabilities_of(spec: ConnectionSpec) -> Capabilities:
    """Return what an account supports, by its connection's settings."""
    return capabilities.capabilities_of(spec, takes_expiry=False)


def create(root: str | None = None) -> DwxAdapter:
    """Create the adapter, for the registry. root: None: FILLCAST_MT4_ROOT of the environment."""
    return DwxAdapter(valid_root(root), "mt5-dwx", FORM, MT5)
