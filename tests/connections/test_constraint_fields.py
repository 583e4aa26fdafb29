"""Each constraint of what people set is about a field, which its error then names."""

from typing import Any

import pytest
from django.db.models import CheckConstraint, Q

from common.db.row_faults import names_in, parts_of
from connections.models import CashFlow, DecisionProvider, LossLimit, TradingPreset


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
