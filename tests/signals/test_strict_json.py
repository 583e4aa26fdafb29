"""What the parser of strict JSON reports, and that a small body costs little."""

import json
import tracemalloc

import pytest

from signals.reading.strict_json import first_duplicate, first_unwritable, parse

HALF = 32 * 1024


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('{"a": 1, "a": 2}', "a"),
        ('{"legs": [{"price": 1}, {"price": 1, "price": 2}]}', "legs.1.price"),
        ('[[{"b": 1, "c": 2, "b": 3}]]', "0.0.b"),
        ('{"a": 1}', None),
    ],
)
def test_first_duplicate_key_is_named_by_its_path(text: str, path: str | None) -> None:
    assert first_duplicate(parse(text.encode())) == path


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('{"note": "x\\u0000"}', "note"),
        ('{"legs": [{"note": "\\ud800"}]}', "legs.0.note"),
        ('{"a": {"b\\u0000": 1}}', "a"),
        ('"\\u0000"', ""),
        ('{"note": "é"}', None),
    ],
)
def test_first_text_that_cannot_be_stored_is_named_by_its_path(text: str, path: str | None) -> None:
    assert first_unwritable(parse(text.encode())) == path


def test_long_key_is_not_copied_for_each_item_below_it() -> None:
    """A decision service may answer with 64 KB: as texts, the paths would take a gigabyte."""
    body = json.dumps({"k" * HALF: [1] * (HALF // 2)})
    parsed = parse(body.encode(), max_bytes=len(body))
    tracemalloc.start()
    try:
        assert first_duplicate(parsed) is None
        assert first_unwritable(parsed) is None
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100 * len(body)
