"""A subscription's own limits: they may only be tighter than those of the account's preset."""

from collections.abc import Iterator, Mapping
from typing import Any

from common.errors import InvalidInputError, raise_all
from common.money import plain
from common.reason_codes import Code
from common.units import UNITS
from connections import symbol_filter, trading_sessions
from connections.entry_limits import ENTRY_LIMITS, Tighter
from connections.models import Subscription, TradingPreset

UNIT_OF = {name: limit.unit_name for name, limit in ENTRY_LIMITS.items() if limit.unit_name}
LISTS = ("allowed_symbols", "trading_sessions")
ALIASES = {"max_slippage": "max_slippage_pips"}
_PUBLIC = {stored: name for name, stored in ALIASES.items()}


def read_limits(
    subscription: Subscription, preset: TradingPreset | None, changes: Mapping[str, Any]
) -> dict[str, Any]:
    """Return changed limits as they are stored. Only what is changed is compared with the preset.

    Raises InvalidInputError with all errors: a value out of range, or looser than the preset's.
    """
    values, errors = dict(changes), []
    for name, read in (
        ("allowed_symbols", symbol_filter.read_patterns),
        ("trading_sessions", trading_sessions.read_sessions),
    ):
        if name in changes:
            values[name], unread = read(changes[name])
            errors += [_error(name, text) for text in unread]
    errors += _out_of_range(values)
    if preset is not None:  # a field has the first of its faults
        wrong = {error.field for error in errors}
        looser = _looser(subscription, preset, values)
        errors += [error for error in looser if error.field not in wrong]
    raise_all(errors)
    return values


def _out_of_range(values: Mapping[str, Any]) -> Iterator[InvalidInputError]:
    for name, value in values.items():
        if name in UNIT_OF.values() and value and value not in UNITS:
            yield _error(name, f"One of {', '.join(UNITS)}.")
        limit = ENTRY_LIMITS.get(name)
        if limit is None or not limit.is_number or value is None:
            continue
        least = limit.least
        if least is None and value <= 0:
            yield InvalidInputError(Code.NUMBER_NOT_POSITIVE, field=_PUBLIC.get(name, name))
        elif least is not None and value < least:
            yield _error(name, f"It is {least} or more.")
    for name, most in zip(
        LISTS, (symbol_filter.MAX_PATTERNS, trading_sessions.MAX_SESSIONS), strict=True
    ):
        if len(values.get(name) or ()) > most:
            yield _error(name, f"At most {most}.")


def _looser(
    subscription: Subscription, preset: TradingPreset, values: Mapping[str, Any]
) -> Iterator[InvalidInputError]:
    for name, value in values.items():
        limit = ENTRY_LIMITS.get(name)
        of_preset = getattr(preset, name, None)
        if limit is None or not limit.is_number or value is None or of_preset is None:
            continue
        is_longer = limit.tighter is Tighter.HIGHER
        is_looser = value < of_preset if is_longer else value > of_preset
        if name not in UNIT_OF and is_looser:
            yield _tighter_only(name, _shown(of_preset))
    yield from _looser_in_unit(subscription, preset, values)
    yield from _looser_lists(preset, values)


def _looser_in_unit(
    subscription: Subscription, preset: TradingPreset, values: Mapping[str, Any]
) -> Iterator[InvalidInputError]:
    """Compare limits that have a unit: it must be the preset's."""
    for name, unit_name in UNIT_OF.items():
        value = values.get(name, getattr(subscription, name))
        of_preset = getattr(preset, name)
        if not {name, unit_name} & values.keys() or value is None or of_preset is None:
            continue
        unit, preset_unit = (
            values.get(unit_name, getattr(subscription, unit_name)),
            getattr(preset, unit_name),
        )
        if unit != preset_unit:
            shown = preset_unit or "empty"
            detail = f"The preset's limit is {plain(of_preset)}, unit {shown}: use the same unit."
            yield _error(unit_name, detail)
        elif value > of_preset:
            yield _tighter_only(name, _shown(of_preset))


def _looser_lists(preset: TradingPreset, values: Mapping[str, Any]) -> Iterator[InvalidInputError]:
    limits = preset.limits
    symbols = symbol_filter.outside(values.get("allowed_symbols") or (), limits.allowed_symbols)
    if symbols:
        yield _tighter_only("allowed_symbols", ", ".join(limits.allowed_symbols), symbols)
    sessions = trading_sessions.outside(
        values.get("trading_sessions") or (), limits.trading_sessions
    )
    if sessions:
        yield _tighter_only("trading_sessions", ", ".join(limits.trading_sessions), sessions)


def _tighter_only(name: str, of_preset: str, beyond: list[str] | None = None) -> InvalidInputError:
    excess = f" {', '.join(beyond)} is beyond it." if beyond else ""
    detail = f"The preset's limit is {of_preset}: a subscription's may only be tighter.{excess}"
    return _error(name, detail)


def _shown(value: Any) -> str:
    return str(value) if isinstance(value, int) else plain(value)


def _error(name: str, detail: str) -> InvalidInputError:
    return InvalidInputError(Code.FIELD_INVALID, detail, field=_PUBLIC.get(name, name))
