"""Every operation of the API that takes a name refuses one of two lines, at its field."""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from tests.api.calls import call, data_of
from tests.api.cases import CASES
from tests.api.factories import World
from tests.api.schemas import whole_schema
from tests.api.test_malformed_input import WRITING, fields_of
from tests.matrix import Walk

NAMES = ("name", "full_name")


@pytest.mark.django_db
def test_every_operation_refuses_a_name_of_two_lines(world: World) -> None:
    document = whole_schema()
    with Walk() as walk:
        for name in walk.each(WRITING):
            for field in sorted(set(NAMES) & set(fields_of(document, name))):
                case = CASES[name]
                sent = replace(case, body=partial(_with, case.body(world), field))
                with walk.cell(name, field) as cell:
                    response = call(world, "alice", name, sent)
                    cell.expect(400, response.status_code)
                    errors = data_of(response).get("errors", [])
                    cell.expect(True, field in {error["field"] for error in errors}, "names it")


def _with(body: dict[str, Any], field: str, _: World) -> dict[str, Any]:
    return {**body, field: "One\nTwo"}
