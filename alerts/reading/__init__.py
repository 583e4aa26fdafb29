"""Read an alert into a signal, an order about a symbol, or an update of an open trade. Pure."""

from alerts.forms.envelopes import without_secrets
from alerts.grammar.levels import may_be_distance, needs_quote, require_near, require_within
from alerts.grammar.mapping import NO_MAPPING, AlertMapping, read_mapping
from alerts.grammar.reading import SIZING, AlertUpdate, Dialect, Distance, LevelForm, Note, Unit
from alerts.reading.alerts import Alert, AlertOrder, AlertSignal, only_feed
from alerts.reading.resolve import ambiguous, read_alert

__all__ = [
    "NO_MAPPING", "SIZING", "Alert", "AlertMapping", "AlertOrder", "AlertSignal", "AlertUpdate",
    "Dialect", "Distance", "LevelForm", "Note", "Unit", "ambiguous", "may_be_distance",
    "needs_quote", "only_feed", "read_alert", "read_mapping", "require_near", "require_within",
    "without_secrets",
]  # fmt: skip
