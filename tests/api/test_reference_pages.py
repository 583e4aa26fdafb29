"""The API reference: Swagger UI on the schema, for everybody, and what is read without scripts."""

import re
from html import unescape
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.test import Client

from api.effects import EFFECTS, REAL
from tests.api.schemas import operations

PAGE = "/api/v1/docs/"
CHANGE_NOTHING = {"preview_new_signal", "preview_oco_pair", "read_feed_alert"}
READS = ("get_", "list_", "export_")


def test_page_is_open_to_visitors_and_only_read(client: Client) -> None:
    assert client.get(PAGE).status_code == 200
    assert client.post(PAGE).status_code == 405


def test_without_a_script_every_operation_is_named(client: Client) -> None:
    page = unescape(client.get(PAGE).content.decode())
    [listed] = re.findall(r"<noscript>(.*?)</noscript>", page, re.DOTALL)
    assert listed.count("<dt>") == len(operations())
    assert '<span class="api-method">post</span> /api/v1/orders/{id}/cancel/</code>' in listed
    assert 'href="/api/v1/schema/?format=json"' in listed
    [panel] = re.findall(r'<section [^>]*id="try"[^>]*>', page)
    assert " hidden" in panel  # the field for the key, which the script shows


def test_page_runs_files_of_its_own_only(client: Client) -> None:
    answer = client.get(PAGE)
    policy = answer["Content-Security-Policy"]
    assert "script-src 'self'; style-src 'self'; " in policy
    assert "unsafe" not in policy
    page = answer.content.decode()
    files = re.findall(r'<(?:script|link)[^>]* (?:src|href)="/static/([^"]+)"', page)
    assert len(files) == 6
    assert all(finders.find(file) for file in files)
    assert not re.findall(r"<script(?![^>]*src=)|<style| style=", page)
    assert not re.findall(r"(?:src|href)=\"(?:https?:)?//", page)


@pytest.mark.django_db
def test_page_sets_the_csrf_cookie_and_reads_no_rows(
    client: Client, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(0):
        answer = client.get(PAGE)
    assert answer.cookies["csrftoken"].value
    assert not answer.cookies["csrftoken"]["httponly"]  # the script sends it in a header


def test_what_trades_or_changes_is_called_real() -> None:
    effects = {id: one.get("x-effect", "") for id, one in operations().items()}
    for id, effect in effects.items():
        if id in CHANGE_NOTHING or id.startswith(READS):
            assert effect == "", id
        elif id == "send_alert":
            assert effect == EFFECTS[""]
        else:
            assert effect.startswith(REAL), id
    assert effects["close_position"] == EFFECTS["trade"]
    assert effects["create_signal"] == EFFECTS["publish"]
    assert effects["create_api_key"] == EFFECTS["operate"]
