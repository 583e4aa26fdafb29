"""docs/security.md: a verdict for each chapter of ASVS 5.0, and no test that does not exist."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
FILES = list(TESTS.rglob("test_*.py"))
PAGE = (TESTS.parent / "docs" / "security.md").read_text()
CHAPTER = re.compile(r"^\| (V\d+) [^|]+ \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
NAMED = sorted(set(re.findall(r"`((?:[\w/]+/)?test_\w+\.py(?:::\w+)?)`", PAGE)))


def test_every_chapter_has_a_verdict_and_names_tests() -> None:
    chapters = {name: (verdict, shown) for name, verdict, shown in CHAPTER.findall(PAGE)}
    assert list(chapters) == [f"V{number}" for number in range(1, 18)]
    for name, (verdict, shown) in chapters.items():
        assert verdict in ("met", "partly", "not applicable"), name
        assert verdict == "not applicable" or ".py" in shown, f"{name} names no test"
        assert verdict != "partly" or "Missing" in shown or "Limit" in shown or "task" in shown, (
            name
        )


@pytest.mark.parametrize("named", NAMED)
def test_named_test_exists(named: str) -> None:
    path, _, function = named.partition("::")
    name = path.removeprefix("tests/")
    found = [path for path in FILES if f"/{name}" in path.as_posix()]
    assert found, f"docs/security.md names {path}, which is not there"
    if function:
        texts = [path.read_text() for path in found]
        assert any(f"def {function}(" in text for text in texts), named


def test_policy_says_how_to_report_and_which_versions() -> None:
    policy = (TESTS.parent / "SECURITY.md").read_text()
    for heading in ("Report a vulnerability", "What to expect", "Supported versions"):
        assert f"## {heading}" in policy, heading
