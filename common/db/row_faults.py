"""All faults of a database row, each by its field, so that its sender can mend them at once."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, ClassVar

from django.core.exceptions import NON_FIELD_ERRORS, FieldError, ValidationError
from django.db import models
from django.db.models import CheckConstraint, Q

from common.errors import InvalidInputError
from common.reason_codes import Code


class FieldConstraints:
    """Before `models.Model` among a model's bases: a broken constraint is an error of its field.

    CONSTRAINT_FIELDS: the field of each constraint that is about several fields together. The
    others are split into their parts, of which each is about one field.
    """

    CONSTRAINT_FIELDS: ClassVar[Mapping[str, str]] = {}

    def validate_constraints(self, exclude: Collection[str] | None = None) -> None:
        """Raise ValidationError with all broken constraints, by field.

        exclude: fields that are not judged, and whose constraints are not.
        """
        row: Any = self
        skipped = set(exclude or ())
        errors: dict[str, list[str]] = {}
        for model, constraints in row.get_constraints():
            against = row._get_field_expression_map(meta=model._meta, exclude=skipped)
            for constraint in constraints:
                if isinstance(constraint, CheckConstraint):
                    fields = _broken_fields(constraint, against, self.CONSTRAINT_FIELDS)
                    texts = [constraint.get_violation_error_message()]
                else:
                    fields, texts = _broken_unique(constraint, model, row, skipped)
                for name in fields:
                    errors.setdefault(name, []).extend(texts)
        if errors:
            raise ValidationError(errors)


def _broken_fields(constraint: Any, against: Any, named: Mapping[str, str]) -> list[str]:
    """Return the fields of the parts of a constraint that do not hold.

    against: the row's values; parts about other fields are not judged.
    """
    condition: Q = constraint.condition
    if _holds(condition, against) is True:
        return []
    if constraint.name in named:
        is_broken = _holds(condition, against) is False
        return [named[constraint.name]] if is_broken else []
    broken = [part for part in parts_of(condition) if _holds(part, against) is False]
    fields = [names.pop() if len(names := names_in(part)) == 1 else "" for part in broken]
    return list(dict.fromkeys(field or NON_FIELD_ERRORS for field in fields))


def _broken_unique(
    constraint: Any, model: Any, row: Any, skipped: Collection[str]
) -> tuple[list[str], list[str]]:
    """Return the field and the texts of a constraint that only the database can judge."""
    try:
        constraint.validate(model, row, exclude=skipped)
    except ValidationError as broken:
        return [type(row).CONSTRAINT_FIELDS.get(constraint.name, NON_FIELD_ERRORS)], broken.messages
    return [], []


def parts_of(condition: Q) -> Iterator[Q]:
    """Yield the conditions that hold together if this one holds."""
    if condition.connector != Q.AND or condition.negated:
        yield condition
        return
    for child in condition.children:
        yield from parts_of(child) if isinstance(child, Q) else [Q(child)]


def names_in(condition: Q) -> set[str]:
    """Return the fields of a condition."""
    names = set[str]()
    for child in condition.children:
        names |= names_in(child) if isinstance(child, Q) else {str(child[0]).partition("__")[0]}  # type: ignore[index]
    return names


def _holds(condition: Q, against: Any) -> bool | None:
    """Return whether a condition holds; None: one of its fields is not judged."""
    try:
        return condition.check(against)
    except FieldError:
        return None


def row_faults(row: models.Model, *, failed: Collection[str] = ()) -> dict[str, list[str]]:
    """Return the faults of a row, by field ('' for none): its rules, then its constraints.

    failed: fields that could not be read; they are emptied, and what depends on them is not judged.
    A field has the faults of the first check that finds one.
    """
    for name in failed:
        if name in {field.name for field in row._meta.concrete_fields}:
            default = row._meta.get_field(name).get_default()  # type: ignore[union-attr]
            setattr(row, name, [] if isinstance(default, list) else None)
    found: dict[str, list[str]] = {}
    for check in (row.clean, lambda: row.validate_constraints(exclude=set(failed))):
        try:
            check()
        except ValidationError as error:
            texts = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
            named = {"" if name == NON_FIELD_ERRORS else name: texts[name] for name in texts}
            found |= {n: t for n, t in named.items() if n not in found and n not in failed}
    return found


def row_errors(row: models.Model) -> list[InvalidInputError]:
    """Return the faults of a row as errors, for `raise_all`."""
    return [
        InvalidInputError(Code.FIELD_INVALID, " ".join(texts), field=name)
        for name, texts in row_faults(row).items()
    ]
