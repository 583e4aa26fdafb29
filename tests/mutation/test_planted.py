"""The planted mistakes can be planted: their files have the right text, and their tests exist."""

import pytest

from tests.mutation.planted import ROOT, Mistake, mistakes


def test_each_planted_mistake_has_its_text_and_tests() -> None:
    wrong = []
    for one in mistakes():
        try:
            changed = one.planted_in((ROOT / one.file).read_text())
        except ValueError as error:
            wrong.append(str(error))
            continue
        if one.file.endswith(".py"):
            compile(changed, one.file, "exec")
        wrong += [f"{one}: no file {path}" for path in one.tests if not (ROOT / path).is_file()]
    assert not wrong, "\n".join(wrong)


def test_no_planted_mistake_is_in_what_the_prepared_database_is_made_of() -> None:
    """It would be made of the right sources: nothing could notice the mistake."""
    prepared = ("/migrations/", "signals/records/sql.py")
    assert not [one for one in mistakes() if any(name in one.file for name in prepared)]


def test_mistake_is_planted_only_where_its_text_stands_once() -> None:
    mistake = Mistake("x.py", "a < b", "a <= b", ())
    assert mistake.planted_in("if a < b:") == "if a <= b:"
    for text in ("if b < a:", "a < b < c and a < b"):
        with pytest.raises(ValueError, match=r"x\.py has [02] times: a < b"):
            mistake.planted_in(text)
