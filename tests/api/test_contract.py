"""v1 keeps what it promises: docs/api.md, "What may change in v1, and when"."""

import copy
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest
from rest_framework import serializers

from api.openapi import ScopedSchema
from common.web.api_fields import StrictSerializer
from common.web.deprecation import Deprecation
from tests.api.contract import broken, contract_of, recorded
from tests.api.schemas import schema

TODAY = date(2026, 11, 25)
ORDERS, CREATE = "GET /api/v1/orders/", "POST /api/v1/feeds/"


def test_nothing_is_gone_that_programs_may_rely_on() -> None:
    """If it was never released, record it again: `python -m tests.api.contract`."""
    assert broken(recorded(), contract_of(schema()), today=datetime.now(UTC).date()) == []


def without_operation(now: Any) -> None:
    del now["operations"][ORDERS]


def renamed_operation(now: Any) -> None:
    now["operations"][ORDERS]["id"] = "orders"


def without_parameter(now: Any) -> None:
    del now["operations"][ORDERS]["parameters"]["query status"]


def demanded_parameter(now: Any) -> None:
    now["operations"][ORDERS]["parameters"]["query account"] = "string!"


def other_answer(now: Any) -> None:
    now["operations"][CREATE]["answers"] = {"202": now["operations"][CREATE]["answers"]["201"]}


def without_field(now: Any) -> None:
    del now["objects"]["Order"]["fields"]["quantity"]


def other_type(now: Any) -> None:
    now["objects"]["Order"]["fields"]["quantity"]["type"] = "number"


def perhaps_missing(now: Any) -> None:
    now["objects"]["Order"]["fields"]["quantity"]["required"] = False


def demanded_field(now: Any) -> None:
    now["objects"]["FeedRequest"]["fields"]["site"] = {"type": "string", "required": True}


def without_value(now: Any) -> None:
    now["objects"]["OrderStatusEnum"]["values"].remove("FILLED")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (without_operation, f"{ORDERS} is gone"),
        (renamed_operation, f"{ORDERS} is called orders, not list_orders"),
        (without_parameter, f"{ORDERS} has no query status"),
        (demanded_parameter, f"{ORDERS} demands query account"),
        (other_answer, f"{CREATE}: answers.201 as application/json is None, not Feed"),
        (without_field, "Order.quantity is gone"),
        (other_type, "Order.quantity is number, not null|string"),
        (perhaps_missing, "Order.quantity may be missing"),
        (demanded_field, "FeedRequest.site is demanded"),
        (without_value, "OrderStatusEnum has no 'FILLED'"),
    ],
)
def test_change_that_breaks_programs_is_found(change: Callable[[Any], None], fault: str) -> None:
    before = contract_of(schema())
    now = copy.deepcopy(before)
    change(now)
    assert broken(before, now, today=TODAY) == [fault]


def test_additions_break_nothing() -> None:
    before = contract_of(schema())
    now = copy.deepcopy(before)
    now["operations"]["GET /api/v1/news/"] = now["operations"][ORDERS]
    now["operations"][ORDERS]["parameters"]["query since"] = "string"
    now["objects"]["Order"]["fields"]["venue"] = {"type": "string", "required": True}
    now["objects"]["FeedRequest"]["fields"]["site"] = {"type": "string", "required": False}
    now["objects"]["OrderStatusEnum"]["values"].append("HELD")
    assert broken(before, now, today=TODAY) == []


def test_what_was_announced_may_go_on_its_day() -> None:
    before = contract_of(schema())
    before["operations"][ORDERS]["removed_on"] = "2027-06-01"
    before["objects"]["Order"]["fields"]["quantity"]["removed_on"] = "2027-06-01"
    now = copy.deepcopy(before)
    without_operation(now)
    without_field(now)
    assert len(broken(before, now, today=date(2027, 5, 31))) == 2
    assert broken(before, now, today=date(2027, 6, 1)) == []


class OldSerializer(StrictSerializer):
    """An object with a field that will be removed."""

    deprecated_fields = {
        "old": Deprecation(date(2026, 12, 1), date(2027, 12, 1), "Use `new`."),
    }
    old = serializers.CharField()
    new = serializers.CharField()


def test_deprecated_field_is_marked_with_its_day_and_what_replaces_it() -> None:
    from drf_spectacular.generators import SchemaGenerator
    from rest_framework.response import Response
    from rest_framework.views import APIView

    class OldView(APIView):
        schema = ScopedSchema()
        serializer_class = OldSerializer
        permission_classes = ()
        authentication_classes = ()

        def get(self, request: Any) -> Response:
            return Response({})

    from django.urls import path

    generator: Any = SchemaGenerator
    made = generator(patterns=[path("old/", OldView.as_view())]).get_schema(public=True)
    fields = made["components"]["schemas"]["Old"]["properties"]
    assert fields["old"]["deprecated"] is True
    assert fields["old"]["description"] == (
        "Deprecated since 2026-12-01; removed on 2027-12-01. Use `new`."
    )
    assert "deprecated" not in fields["new"]
    assert contract_of(made)["objects"]["Old"]["fields"]["old"]["removed_on"] == "2027-12-01"
