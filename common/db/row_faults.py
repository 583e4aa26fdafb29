"""All faults of a database row, each by its field, so that its sender can mend them at once."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from django.core.exceptions import NON_FIELD_ERRORS, FieldError, ValidationError
from django.db import DatabaseError, models, transaction
from django.db.models import BooleanField, CheckConstraint, Q
from django.db.models.functions import Coalesce
from django.db.models.sql import Query
from django.db.models.sql.constants import SINGLE

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
            checks: list[Any] = [one for one in constraints if isinstance(one, CheckConstraint)]
            held = _held([check.condition for check in checks], against)
            found = [
                (
                    _broken_fields(check, holds, against, self.CONSTRAINT_FIELDS),
                    [check.get_violation_error_message()],
                )
                for check, holds in zip(checks, held, strict=True)
                if holds is not True
            ]
            others = [one for one in constraints if not isinstance(one, CheckConstraint)]
            for fields, texts in found + [
                _broken_unique(one, model, row, skipped) for one in others
            ]:
                for name in fields:
                    errors.setdefault(name, []).extend(texts)
        if errors:
            raise ValidationError(errors)


def _broken_fields(
    constraint: Any, holds: bool | None, against: Any, named: Mapping[str, str]
) -> list[str]:
    """Return the fields of the parts of a constraint that do not hold.

    against: the row's values; parts about other fields are not judged.
    """
    if constraint.name in named:
        return [named[constraint.name]] if holds is False else []
    parts = list(parts_of(constraint.condition))
    broken = [
        part for part, held in zip(parts, _held(parts, against), strict=True) if held is False
    ]
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


def _held(conditions: Sequence[Q], against: Mapping[str, Any]) -> list[bool | None]:
    """Return whether each condition holds; None: one of its fields is not judged.

    One statement answers for all of them: Django's `Q.check` sends one for each.
    """
    query: Any = Query(None)  # it reads no table
    for name, value in against.items():
        query.add_annotation(value, name, select=False)
    held: list[bool | None] = [None] * len(conditions)
    judged = []
    for number, condition in enumerate(conditions):
        try:
            holds = Coalesce(condition, True, output_field=BooleanField())
            query.add_annotation(holds, f"condition_{number}")
        except FieldError:
            continue
        judged.append(number)
    if not judged:
        return held
    try:
        with transaction.atomic():
            answers = query.get_compiler(using="default").execute_sql(SINGLE)
    except DatabaseError:  # of one of them, for example a number that is too large for its type
        answers = [conditions[number].check(dict(against)) for number in judged]
    for number, answer in zip(judged, answers, strict=True):
        held[number] = answer
    return held


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
