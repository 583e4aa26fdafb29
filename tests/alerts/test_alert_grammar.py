"""The grammar of texts: its files fit together, and the page that shows it can be pasted."""

import re
from pathlib import Path

import pytest

from alerts.forms.fields import TABLE
from alerts.grammar import statements, updates
from alerts.grammar.lexicon import CLASSES, ENTRY, Kind
from alerts.grammar.notation import Grammar, Statement, rules_of
from alerts.grammar.reading import REFUSALS
from alerts.reading import read_alert
from common.errors import InvalidInputError
from common.reason_codes import Code

PAGE = Path(__file__).parents[2] / "docs" / "alerts.md"
# Kinds that a word has beside those of the lexicon: parts of them (`kinds.kind_of`).
PARTS = {
    "ONE", "DIGIT", "TEN", "WHOLE", "DECIMAL", "PRICE", "TP_N", "ENTRY_N", "LEVER", "MODE", "TIMES",
    "UNIT", "MARGIN", "FRAME_LABEL", "MARKET_WORD", "NAME", "LISTED", "CHART", "FRAME", "PIPS_OF",
    "POINTS_OF", "RISK_WORD",
}  # fmt: skip


def grammar(text: str) -> Grammar:
    return Grammar(rules_of(text), {"SIDE": ("BUY", "SELL")})


def test_first_rule_that_fits_is_taken_at_each_place() -> None:
    rules = grammar(
        'pair = SYMBOL ["/" SYMBOL]\n*entry = SIDE pair & END\n*side = SIDE\n*end = END'
    )
    assert list(rules.statements(["SELL", "BUY", "SYMBOL", "/", "SYMBOL", "END"])) == [
        Statement("side", 0, 1), Statement("entry", 1, 5), Statement("end", 5, 6),
    ]  # fmt: skip


def test_statements_end_where_no_rule_fits() -> None:
    rules = grammar("*side = SIDE !SYMBOL")
    assert list(rules.statements(["BUY", "SELL", "SYMBOL"])) == [
        Statement("side", 0, 1), Statement("", 1, 2),
    ]  # fmt: skip


def test_rule_with_a_part_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="no part of a rule"):
        grammar("*side = SIDE?")


@pytest.mark.parametrize("rules", [ENTRY, updates.GRAMMAR])
def test_rules_name_only_kinds_that_words_have(rules: Grammar) -> None:
    kinds = {name for name in rules.letters if name.isupper()}
    assert kinds - {kind.name for kind in Kind} - PARTS - CLASSES.keys() == set()


def test_each_statement_has_a_place_or_readings() -> None:
    names = {name for name in ENTRY.rules if name[0] in "*?"}
    assert {name[1:] for name in names if name[0] == "*"} == set(statements.HANDLERS)
    assert {name[1:] for name in names if name[0] == "?"} <= set(REFUSALS)
    instructions = {name[1:] for name in updates.GRAMMAR.rules if name[0] == "*"}
    assert instructions - {"gain", "report", "mark"} == set(updates.EFFECTS)


def test_messages_to_paste_are_read() -> None:
    block = re.search(r"```text\n(.+?)```", PAGE.read_text(), re.DOTALL)
    assert block
    messages = block[1].strip().split("\n\n")
    assert len(messages) == 8
    for message in messages:
        read_alert(message.encode())


@pytest.mark.parametrize(("text", "line"), [
    ("BUY EURUSD @ 1.0850 SL", "Write “SL 1.0800”."),
    ("BUY EURUSD @ 1.0850 TP", "Write “TP1 1.0900”."),
    ("BUY EURUSD Entry SL 1.0800", "Write “@ 1.0850”."),
    ("BUY EURUSD @ 1.0850 leverage SL 1.0800", "Write “Leverage: 10x”."),
    ("BUY EURUSD @ 1.0850 SL 1.0800 1.0900", "“TP 1.0900” for a target."),
    ("LONG SOLUSDT perp 150 SL 145", "write “@ 150”"),
])  # fmt: skip
def test_what_is_not_in_the_grammar_is_refused_with_the_nearest_line(text: str, line: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        read_alert(text.encode())
    assert caught.value.code in (Code.ALERT_NOT_UNDERSTOOD, Code.ALERT_AMBIGUOUS)
    assert line in caught.value.detail


def test_each_refusal_is_used_and_each_that_is_used_has_its_words() -> None:
    alerts = Path(__file__).parents[2] / "alerts"
    code = "".join(one.read_text() for one in alerts.rglob("*.py"))
    named = set(re.findall(r'(?:refusal|\.ambiguous|refused_by)\(\s*"([a-z_0-9]+)"', code))
    statements_of_several = {name[1:] for name in ENTRY.rules if name[0] == "?"}
    assert named | statements_of_several | {"lines"} == set(REFUSALS)


@pytest.mark.parametrize("form", [form for form in TABLE if "fields" in TABLE[form]])
def test_key_of_a_form_has_one_meaning(form: str) -> None:
    table = TABLE[form]
    keys = [*table["fields"], *table.get("shares", ()), *table.get("scales", ()),
            *table.get("ignored", ())]  # fmt: skip
    keys += [word for one in table.get("refused", ()) for word in one["words"]]
    assert len(keys) == len(set(keys))
