"""The dialects of alerts: each module reads one family of texts into our own fields. Pure."""

from alerts.dialects.hidden_secrets import without_secrets
from alerts.dialects.level_support import (
    may_be_distance,
    needs_quote,
    require_supported,
    require_within,
)
from alerts.dialects.levels import require_magnitude, require_near
from alerts.dialects.mapping import NO_MAPPING, AlertMapping, read_mapping
from alerts.dialects.reading import (
    SIZING,
    AlertUpdate,
    Dialect,
    Distance,
    LevelForm,
    Note,
    Reading,
    Unit,
)
from alerts.dialects.translate import translate

__all__ = [
    "NO_MAPPING", "SIZING", "AlertMapping", "AlertUpdate", "Dialect", "Distance", "LevelForm",
    "Note", "Reading", "Unit", "may_be_distance", "needs_quote", "read_mapping",
    "require_magnitude", "require_near", "require_supported", "require_within", "translate",
    "without_secrets",
]  # fmt: skip
