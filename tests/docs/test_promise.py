"""The promise is one sentence, the same wherever it is made."""

from pathlib import Path

import pytest
from django.conf import settings

ROOT = Path(__file__).parents[2]
PROMISE = (
    "Fillcast executes a published trading signal: at most once on each account, and a stated"
    " reason where not."
)


@pytest.mark.parametrize(
    "path",
    ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile", "pyproject.toml", "mkdocs.yml",
     "docs/index.md"],
)  # fmt: skip
def test_page_makes_the_promise(path: str) -> None:
    assert PROMISE in (ROOT / path).read_text()


def test_schema_makes_the_promise() -> None:
    assert settings.SPECTACULAR_SETTINGS["DESCRIPTION"] == PROMISE
