"""“Try it” in the API reference: each page has what the script needs to send its operations."""

import json
import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.test import Client

from api.reference_rows import groups_of
from api.reference_try import EFFECTS, REAL
from api.schema_view import kept_schema
from tests.api.schemas import operations, schema

SECTION = re.compile(
    r'<section class="fc-panel" id="(\w+)" aria-labelledby="\w+-title">(.*?)</section>', re.DOTALL
)
FORM = re.compile(
    r'<details class="api-try">\s*<summary>Try it</summary>\s*<p class="fc-3">(.*?)</p>\s*'
    r'<script type="application/json">(.*?)</script>\s*</details>',
    re.DOTALL,
)
EXAMPLE = re.compile(r"<pre [^>]*data-example>(.*?)</pre>", re.DOTALL)
PARAMETER = re.compile(r'data-parameter="([^"]+)"')
CHANGE_NOTHING = {"preview_new_signal", "preview_oco_pair", "read_feed_alert"}


@pytest.fixture(scope="module")
def sections() -> dict[str, str]:
    """The part of a page that is about an operation, by the operation's id."""
    groups = groups_of(kept_schema())
    pages = (Client().get(f"/api/v1/docs/{name}/").content.decode() for name in groups)
    return {id: text for page in pages for id, text in SECTION.findall(page) if id != "try"}


def forms(sections: dict[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for id, text in sections.items():
        [(_, data)] = FORM.findall(text)
        yield id, json.loads(data)


def test_every_operation_has_one_form_with_its_request(sections: dict[str, str]) -> None:
    paths = schema()["paths"]
    described = {
        one["operationId"]: (method.upper(), path, one)
        for path, methods in paths.items()
        for method, one in methods.items()
    }
    assert sections.keys() == described.keys() == operations().keys()
    for id, form in forms(sections):
        method, path, one = described[id]
        parameters = one.get("parameters", [])
        assert (form["method"], form["path"]) == (method, path)
        assert form["isSigned"] == bool(one.get("security")), id
        assert form["contentTypes"] == list(one.get("requestBody", {}).get("content", {})), id
        assert [(p["name"], p["place"], p["isRequired"]) for p in form["parameters"]] == [
            (p["name"], p["in"], bool(p.get("required"))) for p in parameters
        ], id
        named = re.findall(r"{(\w+)}", path)
        in_path = [p["name"] for p in form["parameters"] if p["place"] == "path"]
        assert sorted(in_path) == sorted(named), id


def test_script_finds_help_example_and_meaning_of_answers(sections: dict[str, str]) -> None:
    for id, form in forms(sections):
        text = sections[id]
        assert PARAMETER.findall(text) == [
            f"{one['place']} {one['name']}" for one in form["parameters"]
        ], id
        examples = EXAMPLE.findall(text)
        assert len(examples) == bool(form["contentTypes"]), id
        for example in examples:
            assert isinstance(json.loads(unescape(example)), dict), id
        for status in operations()[id]["responses"]:
            assert f'<span data-answer="{status}">' in text, (id, status)


def test_form_has_values_types_and_the_idempotency_key(sections: dict[str, str]) -> None:
    of = dict(forms(sections))
    orders = {one["name"]: one for one in of["list_orders"]["parameters"]}
    assert orders["status"]["type"] == "list of string"
    assert "csv" in {value for one in of["get_history"]["parameters"] for value in one["values"]}
    headers = [p["name"] for p in of["cancel_order"]["parameters"] if p["place"] == "header"]
    assert sorted(headers) == ["Idempotency-Key", "If-Match"]
    assert of["send_alert"]["contentTypes"] == ["application/json", "text/plain"]
    assert not of["send_alert"]["isSigned"]


def test_what_trades_or_changes_is_called_real(sections: dict[str, str]) -> None:
    for id, form in forms(sections):
        if form["method"] == "GET" or id in CHANGE_NOTHING:
            assert form["effect"] == "", id
        elif id == "send_alert":
            assert form["effect"] == EFFECTS[""]
        else:
            assert form["effect"].startswith(REAL), id
    of = dict(forms(sections))
    assert of["close_position"]["effect"] == EFFECTS["trade"]
    assert of["create_signal"]["effect"] == EFFECTS["publish"]
    assert of["create_api_key"]["effect"] == EFFECTS["operate"]


def test_without_a_script_the_page_states_what_is_missing(sections: dict[str, str]) -> None:
    for id, text in sections.items():
        [(words, _)] = FORM.findall(text)
        assert words.startswith("Trying it needs JavaScript."), id
    page = Client().get("/api/v1/docs/orders/").content.decode()
    [panel] = re.findall(r'<section [^>]*id="try"[^>]*>', page)
    assert " hidden" in panel  # the field for the key, which the script shows


def test_page_runs_files_of_its_own_only(client: Client) -> None:
    answer = client.get("/api/v1/docs/orders/")
    policy = answer["Content-Security-Policy"]
    assert "script-src 'self'; style-src 'self'; " in policy
    assert "unsafe" not in policy
    page = answer.content.decode()
    sources = re.findall(r'<script src="/static/(api/\w+\.js)" defer></script>', page)
    assert len(sources) == 5
    assert all(finders.find(source) for source in sources)
    inline = re.findall(r"<script(?![^>]*src=)([^>]*)>", page)
    assert set(inline) == {' type="application/json"'}  # data, which no browser runs
    assert " style=" not in page
    assert not re.findall(r"(?:src|href)=\"(?:https?:)?//", page)


@pytest.mark.django_db
def test_page_sets_the_csrf_cookie_and_reads_no_rows(
    client: Client, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(0):
        answer = client.get("/api/v1/docs/orders/")
    assert answer.cookies["csrftoken"].value
    assert not answer.cookies["csrftoken"]["httponly"]  # the script sends it in a header
