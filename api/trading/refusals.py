"""Reasons of orders and log lines with the figures of a denial, as the API returns them."""

from typing import Any

from rest_framework import serializers

from common.figure_names import Bound
from common.limit_figures import Figures
from common.web.api_fields import Reason, StrictSerializer, reason


class FiguresSerializer(StrictSerializer):
    """What was limited, its value and the bound that it broke; numbers in plain digits.

    One of maximum, minimum, compared_with and allowed is set; all are null if it is not known.
    """

    name = serializers.CharField(read_only=True, help_text="What was limited.")
    value = serializers.CharField(read_only=True)
    maximum = serializers.CharField(read_only=True, allow_null=True)
    minimum = serializers.CharField(read_only=True, allow_null=True)
    compared_with = serializers.CharField(
        read_only=True, allow_null=True, help_text="Another price or quantity."
    )
    allowed = serializers.CharField(
        read_only=True, allow_null=True, help_text="A list, such as of symbols, or a time."
    )
    bound_name = serializers.CharField(
        read_only=True, help_text="What the bound is: `maximum`, or such as `stop loss`."
    )
    unit = serializers.CharField(
        read_only=True, allow_blank=True, help_text="Of value and bound; empty: a price or count."
    )
    text = serializers.CharField(read_only=True, help_text="All of it, for people.")


class RefusalReason(Reason):
    """A reason with the figures of a denial; null for reasons without."""

    figures = FiguresSerializer(read_only=True, allow_null=True)


def refusal(code: str, status: str, figures: Figures | None) -> dict[str, Any] | None:
    """Return a reason code with its sentence, hint and figures; None without a code."""
    stated = reason(code, status)
    return None if stated is None else {**stated, "figures": figures and _figures(figures)}


def _figures(figures: Figures) -> dict[str, str | None]:
    bounds = {
        bound.value: figures.bound_value if bound is figures.bound and figures.bound_value else None
        for bound in Bound
    }
    return {
        "name": figures.name,
        "value": figures.value,
        **bounds,
        "bound_name": figures.word or figures.bound.value,
        "unit": figures.unit,
        "text": figures.text,
    }
