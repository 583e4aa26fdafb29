"""Create, change and delete presets. Public through `connections.services`.

Portal, API and console validate and write presets here, so that each refuses the same.
"""

import hashlib
from collections.abc import Collection
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import ProtectedError

from common.db.row_changes import change_row
from common.db.row_faults import row_errors, row_faults
from common.errors import ConflictError, InvalidInputError, raise_all
from common.money import plain
from common.permissions import Right, require
from common.reason_codes import Code
from common.web.formatting import join_first
from common.web.quotas import require_quota
from connections.models import (
    SIZE_FIELDS,
    ExecutionConnection,
    LossLimit,
    SizingMode,
    TradingPreset,
)
from users.models import User
from users.sign_in.session_factor import require_fresh_factor

UNCHANGEABLE = frozenset({"id", "user", "created_at"})
PRESET_FIELDS = tuple(
    field.name for field in TradingPreset._meta.concrete_fields if field.name not in UNCHANGEABLE
)
"""The fields of a preset that its owner sets."""
COPIED_OF_LIMIT = ("window", "measure", "basis", "maximum", "unit", "action", "resume")
"""What a copied preset's loss limits are; since when losses count is not copied."""


@transaction.atomic
def create_preset(
    preset: TradingPreset, *, by: User | None, copied_id: int | None = None
) -> TradingPreset:
    """Store a new preset of `preset.user` (None: the operators', which all users may use).

    copied_id: a preset that the caller may use, whose loss limits it gets, too. Raises
    NotAllowedError; InvalidInputError with all faults; ConflictError QUOTA_REACHED;
    SecondFactorNeededError with a decision provider that is not of rules.
    """
    require(by, Right.LIMITS, owner_id=preset.user_id)
    _require_factor_for_provider(preset, by)
    raise_all(preset_errors(preset))
    owner_id = preset.user_id
    require_quota("presets", owner_id, TradingPreset.objects.filter(user=owner_id))
    preset.save(force_insert=True)
    if copied_id is not None:
        limits = list(LossLimit.objects.filter(preset_id=copied_id).order_by("pk"))
        owned = LossLimit.objects.owned_by(owner_id)
        require_quota("loss limits", owner_id, owned, new=len(limits))
        for limit in limits:
            values = {name: getattr(limit, name) for name in COPIED_OF_LIMIT}
            LossLimit.objects.create(preset=preset, **values)
    return preset


@transaction.atomic
def change_preset(
    preset_id: int, *, by: User | None, seen: str = "", **changes: Any
) -> TradingPreset:
    """Change a preset from the next decision about an entry on; return it as it is then.

    seen: `preset_version` of what the caller was shown; '' if it does not matter. Raises
    NotAllowedError; ConflictError STATE_CONFLICT if it has changed since; InvalidInputError with
    all faults of the preset as it would be; SecondFactorNeededError for another decision provider
    that is not of rules.
    """
    preset = TradingPreset.objects.select_for_update(no_key=True, of=("self",)).get(pk=preset_id)
    require(by, Right.LIMITS, owner_id=preset.user_id)
    if seen and seen != preset_version(preset):
        detail = "The preset was changed meanwhile, in another window or by another person."
        raise ConflictError(Code.STATE_CONFLICT, detail)
    if unknown := sorted(set(changes) - set(PRESET_FIELDS)):
        detail = f"{unknown[0]!r} cannot be changed."
        raise InvalidInputError(Code.FIELD_UNKNOWN, detail, field=unknown[0])
    before = preset.decision_provider_id
    for name, value in changes.items():
        setattr(preset, name, value)
    if preset.decision_provider_id != before:
        _require_factor_for_provider(preset, by)
    raise_all(preset_errors(preset))
    # as `clean` spells them
    return change_row(preset, {name: getattr(preset, name) for name in changes})


def _require_factor_for_provider(preset: TradingPreset, by: User | None) -> None:
    """Require a fresh factor to choose a provider that is sent figures and scales entries."""
    if preset.decision_provider is not None and preset.decision_provider.is_foreign:
        require_fresh_factor(by)


@transaction.atomic
def delete_preset(preset_id: int, *, by: User | None) -> None:
    """Delete a preset. Raises NotAllowedError, ConflictError while an account uses it."""
    preset = TradingPreset.objects.select_for_update(of=("self",)).get(pk=preset_id)
    require(by, Right.LIMITS, owner_id=preset.user_id)
    used = ExecutionConnection.objects.filter(preset=preset).order_by("name")
    names = list(used.live().values_list("name", flat=True)[:5])
    try:
        preset.delete()
    except ProtectedError as error:
        detail = (
            f"It is used by {join_first(names)}: choose another preset there first."
            if names
            else "Accounts that were removed have it in their history."
        )
        raise ConflictError(Code.STATE_CONFLICT, detail) from error


def preset_version(preset: TradingPreset) -> str:
    """Return a text that differs whenever what a preset sets differs."""
    values = (f"{name}={_written(getattr(preset, name))}" for name in _columns())
    return hashlib.sha256("\n".join(values).encode()).hexdigest()[:32]


def preset_errors(preset: TradingPreset, failed: Collection[str] = ()) -> list[InvalidInputError]:
    """Return all faults of a preset, each by its field. failed: fields that could not be read."""
    missing = [
        InvalidInputError(Code.FIELD_REQUIRED, f"“{mode.label}” needs it.", field=name)
        for mode in _mode_of(preset)
        for name in SIZE_FIELDS.get(mode, ())
        if getattr(preset, name) is None and name not in failed and "sizing_mode" not in failed
    ]
    found = (
        row_errors(preset)
        if not failed
        else [
            InvalidInputError(Code.FIELD_INVALID, " ".join(texts), field=name)
            for name, texts in row_faults(preset, failed=failed).items()
        ]
    )
    named = {error.field for error in missing}
    kept = [
        error
        for error in found
        if error.field not in named and not (error.field == "sizing_mode" and (missing or failed))
    ]
    return missing + kept


def _mode_of(preset: TradingPreset) -> list[SizingMode]:
    return [SizingMode(preset.sizing_mode)] if preset.sizing_mode in SizingMode.values else []


def _columns() -> list[str]:
    names = {field.name: field.attname for field in TradingPreset._meta.concrete_fields}
    return [names[name] for name in PRESET_FIELDS]


def _written(value: Any) -> str:
    return plain(value) if isinstance(value, Decimal) else str(value)
