"""The dialects of alerts: texts by the grammar, commands and objects of other services. Pure."""

from alerts.dialects.hidden_secrets import without_secrets
from alerts.dialects.translate import translate
from alerts.grammar.level_support import (
    may_be_distance,
    needs_quote,
    require_supported,
    require_within,
)
from alerts.grammar.levels import require_magnitude, require_near
from alerts.grammar.mapping import NO_MAPPING, AlertMapping, read_mapping
from alerts.grammar.reading import (
    SIZING,
    AlertUpdate,
    Dialect,
    Distance,
    LevelForm,
    Note,
    Reading,
    Unit,
)

__all__ = [
    "NO_MAPPING", "SIZING", "AlertMapping", "AlertUpdate", "Dialect", "Distance", "LevelForm",
    "Note", "Reading", "Unit", "may_be_distance", "needs_quote", "read_mapping",
    "require_magnitude", "require_near", "require_supported", "require_within", "translate",
    "without_secrets",
]  # fmt: skip
