"""The OpenAPI schema: valid, complete, and with names that stay."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import drf_spectacular.validation
import jsonschema_rs
import pytest
from django.test import Client

from api import reference
from api.schema import ERRORS, errors_of
from common.permissions import Scope
from tests.api.schemas import operations, schema
from tests.statements import sent_statements

SCHEMA = schema()
OPERATIONS = operations()
OPENAPI_3_1 = Path(drf_spectacular.validation.__file__).with_name("openapi_3_1_schema.json")
PUBLIC = {"send_alert", "get_alert_status"}  # the token in the address is the key


@pytest.mark.django_db
def test_served_schema_is_valid_openapi_3_1() -> None:
    answer: Any = Client().get("/api/v1/schema/?format=json")
    served = answer.json()
    assert served["openapi"] == "3.1.0"
    jsonschema_rs.Draft202012Validator(json.loads(OPENAPI_3_1.read_text())).validate(served)
    for name, component in served["components"]["schemas"].items():
        jsonschema_rs.meta.validate(component)
        assert "nullable" not in str(component), name
    assert served["components"] == SCHEMA["components"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("form", "kind"),
    [
        ("json", "application/vnd.oai.openapi+json"),
        ("yaml", "application/vnd.oai.openapi; charset=utf-8"),
    ],
)
def test_schema_is_written_once_and_needs_no_database(
    monkeypatch: pytest.MonkeyPatch, form: str, kind: str
) -> None:
    """Visitors may ask for it too, and to write it takes a second of a processor."""
    path = f"/api/v1/schema/?format={form}"
    forged: Any = {"HTTP_AUTHORIZATION": "Bearer fc_no_such_key"}
    first: Any = Client().get(path)
    assert first["Content-Type"] == kind
    monkeypatch.setattr("drf_spectacular.generators.SchemaGenerator.get_schema", None)
    monkeypatch.setattr("drf_spectacular.renderers.dump", None)
    monkeypatch.setattr("drf_spectacular.renderers.JSONRenderer.render", None)
    with sent_statements() as sent:
        second: Any = Client().get(path, **forged)
    assert (second.status_code, second.content) == (200, first.content)
    assert sent == []


def test_served_schema_has_no_reference_to_nothing() -> None:
    wanted = set(re.findall(r"'\$ref': '#/components/([^']+)'", str(SCHEMA)))
    assert wanted
    for kind, name in (one.split("/") for one in wanted):
        assert name in SCHEMA["components"][kind]


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_has_a_name_a_summary_a_group_and_a_scope(name: str) -> None:
    operation = OPERATIONS[name]
    assert re.fullmatch(r"[a-z]+(_[a-z0-9]+)+", name)
    assert 4 <= len(operation["summary"]) <= 120
    assert len(operation["tags"]) == 1
    assert reference.groups()[operation["tags"][0]]
    security = operation.get("security", [])
    if name in PUBLIC:
        assert security == []
    else:
        scopes = [one["apiKey"] for one in security if "apiKey" in one]
        assert len(scopes) == 1
        assert set(scopes[0]) <= {scope.value for scope in Scope}
        assert len(scopes[0]) == 1
        assert f"`{scopes[0][0]}`" in operation["description"]


@pytest.mark.parametrize("name", OPERATIONS)
def test_refusals_of_an_operation_are_problems(name: str) -> None:
    method, operation = next(
        (method, one)
        for methods in SCHEMA["paths"].values()
        for method, one in methods.items()
        if one["operationId"] == name
    )
    wanted = {str(status) for status in errors_of(method, operation)}
    assert {"429", "503"} <= wanted
    assert name in PUBLIC or {"401", "403"} <= wanted
    for status in wanted:
        reference_to = operation["responses"][status]["$ref"]
        assert reference_to == f"#/components/responses/Problem{status}"
    assert any(status.startswith("2") for status in operation["responses"])


def test_status_of_an_alert_may_be_refused_by_its_readers_address() -> None:
    path = "/hooks/tradingview/{feed}/{token}/alerts/{alert}/"
    assert "403" in SCHEMA["paths"][path]["get"]["responses"]


def test_problem_responses_are_documented_once() -> None:
    for status in ERRORS:
        shown = SCHEMA["components"]["responses"][f"Problem{status}"]
        assert list(shown["content"]) == ["application/problem+json"]
        assert shown["description"]


def test_every_field_and_parameter_has_a_meaning() -> None:
    missing = [
        f"{component}.{field}"
        for component, described in SCHEMA["components"]["schemas"].items()
        for field, properties in described.get("properties", {}).items()
        if not properties.get("description")
    ]
    missing += [
        f"{name} parameter.{parameter['name']}"
        for name, operation in OPERATIONS.items()
        for parameter in operation.get("parameters", ())
        if not parameter.get("description")
    ]
    assert not missing  # write them into api/reference/fields.toml


def test_no_meaning_is_left_over() -> None:
    """A field that was renamed takes its meaning along."""
    schemas = SCHEMA["components"]["schemas"]
    fields = {
        key
        for component, described in schemas.items()
        for field in described.get("properties", {})
        for key in (field, f"{component}.{field}")
    }
    fields |= {
        f"parameter.{parameter['name']}"
        for operation in OPERATIONS.values()
        for parameter in operation.get("parameters", ())
    }
    assert set(reference.meanings()) <= fields
    used = {operation["tags"][0] for operation in OPERATIONS.values()}
    assert set(reference.groups()) == used


def test_names_of_operations_are_unique() -> None:
    names = [one["operationId"] for methods in SCHEMA["paths"].values() for one in methods.values()]
    assert [name for name, count in Counter(names).items() if count > 1] == []


def test_operation_that_lacks_a_summary_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks above look at what is served: without it they fail."""
    monkeypatch.setitem(OPERATIONS["list_orders"], "summary", "")
    with pytest.raises(AssertionError):
        test_operation_has_a_name_a_summary_a_group_and_a_scope("list_orders")


def test_security_schemes_are_described() -> None:
    schemes = SCHEMA["components"]["securitySchemes"]
    assert schemes["apiKey"]["scheme"] == "bearer"
    assert set(schemes) == {"apiKey", "cookieAuth"}


def test_headers_of_answers_are_described() -> None:
    def shown(name: str, status: str) -> set[str]:
        return set(OPERATIONS[name]["responses"][status].get("headers", ()))

    rates = {"RateLimit", "RateLimit-Policy"}
    assert shown("list_orders", "200") == shown("get_order", "304") == rates | {"ETag"}
    assert shown("update_preset", "200") == rates | {"ETag"}
    assert shown("create_feed", "201") == rates | {"Idempotency-Replayed"}
    assert shown("create_api_key", "201") == rates  # its answer is not kept
    assert shown("pause_connection", "200") == rates | {"ETag", "Idempotency-Replayed"}
    assert shown("get_analytics_export", "200") == rates
    assert "304" not in OPERATIONS["get_analytics_export"]["responses"]  # it is a stream
    for name, described in SCHEMA["components"]["headers"].items():
        assert described["description"], name
