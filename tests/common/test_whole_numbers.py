"""A whole number has plain digits at every entry point, and nothing is stored below zero as 0."""

from collections.abc import Iterator
from decimal import Decimal as D
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.urls import get_resolver
from rest_framework import serializers

from common.form_fields import AmountInput, WholeNumberInput
from common.money import plain, read_decimal
from common.web.api_fields import WholeNumber
from tests.api.schemas import schema

OTHER = [
    "1_000", "１２", "٣", "१", "+1", "1.", "1.0", "1e3", "1,000", "1'000", "1\u00a0000", "0x10",
    "NaN", "--1", "½", "²", "−1", "9" * 40, "9" * 5000, "1\x00", "true",
]  # fmt: skip


@pytest.mark.parametrize("text", OTHER)
def test_whole_number_in_other_digits_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="whole number"):
        WholeNumberInput().clean(text)
    with pytest.raises(serializers.ValidationError, match="whole number"):
        WholeNumber().run_validation(text)


@pytest.mark.parametrize("value", ["1\n", " 1", "", True, 1.0, [], [1], {}, b"1"])
def test_whole_number_of_the_api_is_text_or_number(value: Any) -> None:
    with pytest.raises(serializers.ValidationError):
        WholeNumber().run_validation(value)


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("-0", 0), (" 12 ", 12), ("-7", -7)])
def test_whole_number_in_plain_digits_is_read(text: str, number: int) -> None:
    assert WholeNumberInput().clean(text) == number
    assert WholeNumber().run_validation(text.strip()) == number


@pytest.mark.parametrize("text", ["-0", "-0.0", "-0.000"])
def test_zero_is_never_shown_below_zero(text: str) -> None:
    assert str(read_decimal(text)) == plain(AmountInput().clean(text)) == plain(D(text)) == "0"


def _classes(base: type[Any]) -> Iterator[type[Any]]:
    for one in base.__subclasses__():
        yield from _classes(one)
        if not one.__module__.startswith(("rest_framework", "drf_", "django", "tests", "unfold")):
            yield one


def _loose(fields: Any, path: str) -> Iterator[str]:
    for name, field in fields.items():
        where = f"{path}.{name}"
        if field.read_only:
            continue
        if isinstance(field, serializers.BaseSerializer):
            inner = getattr(field, "child", field)
            yield from _loose(getattr(inner, "fields", {}), where)
        if isinstance(getattr(field, "child", None), serializers.Field):
            yield from _loose({"[]": field.child}, where)
        kinds = (serializers.IntegerField, serializers.FloatField, serializers.DecimalField)
        if isinstance(field, kinds) and not isinstance(field, WholeNumber):
            yield where


SIGNALS = {"NewSignal", "NewOcoPair", "NewBracket", "OcoLeg"}  # read by signals/reading/fields.py


def test_every_number_that_the_api_takes_has_our_fields() -> None:
    assert get_resolver().url_patterns  # imports all serializers
    bodies = [
        operation["requestBody"]["content"]["application/json"]["schema"].get("$ref", "")
        for path in schema()["paths"].values() for operation in path.values()
        if "requestBody" in operation
    ]  # fmt: skip
    taken = {
        one.rpartition("/")[2].removeprefix("Patched").removesuffix("Request") for one in bodies
    } - SIGNALS
    found = [
        one for one in _classes(serializers.Serializer)
        if one.__name__.removesuffix("Serializer") in taken
    ]  # fmt: skip
    assert len(found) > 30
    assert [where for one in found for where in _loose(one().fields, one.__name__)] == []
