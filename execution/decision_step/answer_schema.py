"""Validate the answer of a web service by its published JSON schema. Pure.

The schema is `schemas/decision-answer-v1.json`; users validate with the same file. Numbers keep
their digits: they become int or Decimal, never float.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from jsonschema import Draft202012Validator

from common.errors import InvalidInputError
from common.money import read_decimal
from signals.reading.strict_json import NumberText

FOLDER = Path(__file__).with_name("schemas")
DECISIONS = "decisions"
PARTS = frozenset({"factor", "reason"})
"""The parts of a decision whose faults concern its entry alone."""


def schema(name: str) -> dict[str, Any]:
    """Return a schema: `decision-request-v1` or `decision-answer-v1`."""
    found: dict[str, Any] = orjson.loads((FOLDER / f"{name}.json").read_bytes())
    return found


_ANSWER = Draft202012Validator(schema("decision-answer-v1"))


@dataclass(frozen=True, slots=True)
class AnswerFaults:
    """What is wrong in an answer. whole: why there is no answer at all, or ''.

    of_decisions: by the decision's place, which part of it is wrong.
    """

    whole: str
    of_decisions: Mapping[int, str]


def faults_of(body: Any) -> AnswerFaults:
    """Return what contradicts the schema. body: as `strict_json.parse` returns it."""
    of_decisions: dict[int, str] = {}
    for error in _ANSWER.iter_errors(_with_numbers(body)):
        path = list(error.absolute_path)
        part = str(path[2]) if len(path) > 2 else _missing(error)
        if len(path) < 2 or path[0] != DECISIONS or part not in PARTS:
            place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
            return AnswerFaults(f"{place.lstrip('.') or 'It'}: {error.validator}", {})
        of_decisions.setdefault(int(path[1]), part)
    return AnswerFaults("", of_decisions)


def _missing(error: Any) -> str:
    """Return which part of a decision is missing: nothing if `order_id` is, too."""
    is_object = error.validator == "required" and isinstance(error.instance, dict)
    return "factor" if is_object and "order_id" in error.instance else ""


def _with_numbers(value: Any) -> Any:
    """Return the body with its numbers as int or Decimal; what is no plain number stays a text."""
    if isinstance(value, NumberText):
        try:
            number = read_decimal(str(value))
            return number if "." in value else int(number)
        except InvalidInputError:
            return str(value)
    if isinstance(value, list):
        return [_with_numbers(item) for item in value]
    if isinstance(value, dict):
        return {name: _with_numbers(item) for name, item in value.items()}
    return value
