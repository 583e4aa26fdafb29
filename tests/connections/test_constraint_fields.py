"""Each constraint of what people set is about a field, which its error then names."""

from decimal import Decimal as D
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db.models import CheckConstraint, Q

from common.db.row_faults import names_in, parts_of
from connections.models import CashFlow, DecisionProvider, LossLimit, TradingPreset
from tests.statements import sent_statements


def condition_of(constraint: Any) -> Q:
    condition: Q = constraint.condition
    return condition


@pytest.mark.parametrize("model", [CashFlow, DecisionProvider, LossLimit, TradingPreset])
def test_every_part_of_a_constraint_names_one_field(model: Any) -> None:
    constraints: list[Any] = model._meta.constraints
    unclear = [
        constraint.name
        for constraint in constraints
        if isinstance(constraint, CheckConstraint)
        and constraint.name not in model.CONSTRAINT_FIELDS
        and any(len(names_in(part)) != 1 for part in parts_of(condition_of(constraint)))
    ]
    assert unclear == []
    known = {constraint.name for constraint in constraints}
    assert set(model.CONSTRAINT_FIELDS) <= known


@pytest.mark.django_db
def test_all_constraints_are_judged_by_one_statement() -> None:
    with sent_statements() as sent:
        TradingPreset(risk_percent=D(1)).validate_constraints(exclude={"user", "name"})
    assert len(sent) == 1


@pytest.mark.django_db
def test_value_that_postgresql_refuses_leaves_the_other_constraints_judged() -> None:
    """It refuses the statement as a whole; each constraint is then judged alone."""
    row = TradingPreset(sizing_mode="\0", multiplier=D(-1))
    with pytest.raises(ValidationError) as raised:
        row.validate_constraints(exclude={"user", "name"})
    assert list(raised.value.message_dict) == ["multiplier"]
