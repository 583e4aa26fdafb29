"""MetaTrader 5 by the same files, where no Python for Windows shall run: the kind `mt5-dwx`.

Hedging accounts only: on a netting account an entry disappears in the position that is there, and
the files do not tell whose lots are whose. They do not tell the mode either, so the owner does.
"""

from dataclasses import replace

from brokers.dwx.adapter import DwxAdapter, root_of
from brokers.dwx.dialect import MT5
from brokers.dwx.kind import FORM as MT4_FORM
from brokers.dwx.kind import capabilities_of
from brokers.form import Setting, SettingKind


def _needs_yes(is_hedging: bool) -> str:
    return "" if is_hedging else "Netting accounts cannot be traded this way."


HEDGING = Setting(
    "hedging", "The account is a hedging one",
    "MetaTrader's title bar says Hedge. A netting account is traded by the kind mt5 only.",
    SettingKind.SWITCH, required=True, check=_needs_yes,
)  # fmt: skip
FORM = replace(
    MT4_FORM,
    settings=(MT4_FORM.settings[0], HEDGING, *MT4_FORM.settings[1:]),
    label="MetaTrader 5 by files",
)
__all__ = ["FORM", "capabilities_of", "create"]


def create(root: str | None = None) -> DwxAdapter:
    """Make the adapter, for the registry. root: else the environment's FILLCAST_MT4_ROOT."""
    return DwxAdapter(root_of(root), "mt5-dwx", FORM, MT5)
