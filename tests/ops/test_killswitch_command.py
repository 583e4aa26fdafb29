"""`manage.py killswitch`."""

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.test.utils import CaptureQueriesContext

from connections.models import KillSwitch
from signals.models import Feed
from tests.connections import make

pytestmark = pytest.mark.django_db


@pytest.fixture
def feed() -> Feed:
    return make.feed()


def killswitch(*arguments: str) -> tuple[dict[str, Any], str]:
    """Run the command; return its JSON line and its text for people."""
    out, err = StringIO(), StringIO()
    call_command("killswitch", *arguments, stdout=out, stderr=err)
    return json.loads(out.getvalue().splitlines()[-1]), err.getvalue()


def test_halt_is_set_listed_and_released() -> None:
    result, text = killswitch(
        "set",
        "--scope",
        "SYMBOL",
        "--name",
        "eurusd",
        "--reason",
        "bad prices",
        "--flatten",
        "--yes",
    )
    assert "Open positions: 0. They are closed at the market." in text
    switch = KillSwitch.objects.get()
    assert (switch.pair, switch.mode, switch.flatten) == ("EUR/USD", "REDUCING", True)
    assert (result["id"], result["positions"]) == (switch.pk, 0)
    (listed,) = killswitch("list")[0]["halts"]
    assert (listed["id"], listed["scope"], listed["pair"]) == (switch.pk, "SYMBOL", "EUR/USD")
    assert killswitch("release", str(switch.pk))[0] == {"released": True}
    assert killswitch("release", str(switch.pk))[0] == {"released": False}
    assert killswitch("list")[0] == {"halts": []}


def test_confirmed_halt_is_set_before_its_orders_are_counted() -> None:
    with CaptureQueriesContext(connection) as found:
        _, text = killswitch("set", "--reason", "r", "--yes")
    statements = [query["sql"] for query in found.captured_queries]
    halted = [
        n for n, one in enumerate(statements) if 'INSERT INTO "connections_killswitch"' in one
    ]
    counted = [n for n, one in enumerate(statements) if 'FROM "execution_order"' in one]
    assert len(halted) == 1
    assert counted
    assert halted[0] < min(counted)
    assert text.index("is set.") < text.index("It touches:")


def test_nothing_is_halted_without_confirmation(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandError, match="Nothing was halted") as refused:
        call_command("killswitch", "set", "--reason", "r")
    assert refused.value.returncode == 2
    assert not KillSwitch.objects.exists()
    shown = capsys.readouterr()
    assert "Entries at brokers: 0. They stay there and may still fill." in shown.err
    assert json.loads(shown.out)["id"] is None


class Terminal(StringIO):
    """Standard input with a person at it."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "halts"), [("yes\n", 1), ("y\n", 1), ("no\n", 0), ("", 0)])
def test_person_at_a_terminal_is_asked(
    monkeypatch: pytest.MonkeyPatch, answer: str, halts: int
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    if halts:
        result, text = killswitch("set", "--reason", "r")
        assert "Set this halt? Type yes to do it:" in text
        assert f"manage.py killswitch release {result['id']}" in text
    else:
        with pytest.raises(CommandError, match="Nothing was halted"):
            killswitch("set", "--reason", "r")
    assert KillSwitch.objects.count() == halts


def test_each_scope_is_named_by_its_usual_name(feed: Feed) -> None:
    owner = make.user()
    account = make.connection(user=owner)
    named = {
        "ALL": "", "FEED": feed.slug, "USER": owner.username, "CONNECTION": str(account.pk),
        "BROKER_TYPE": "paper", "SYMBOL": "EUR/USD",
    }  # fmt: skip
    for scope, name in named.items():
        killswitch("set", "--scope", scope, "--name", name, "--reason", "r", "--yes")
    assert set(KillSwitch.objects.values_list("scope", flat=True)) == {*named}
    assert len(killswitch("list")[0]["halts"]) == len(named)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--scope", "FEED", "--name", "unknown"), "There is no feed 'unknown'"),
        (("--scope", "USER", "--name", "unknown"), "There is no user 'unknown'"),
        (("--scope", "CONNECTION", "--name", "x"), "must be the connection's ID"),
        (("--scope", "BROKER_TYPE", "--name", "mt9"), "is not a broker type"),
        (("--scope", "SYMBOL", "--name", "?!"), "SYMBOL_UNKNOWN"),
        (("--name", "x"), "Leave --name empty"),
        (("--scope", "SYMBOL"), "--scope SYMBOL needs --name"),
        (("--scope", "FEED"), "--scope FEED needs --name"),
        (("--mode", "HALTED", "--flatten"), "Choose exits only"),
        (
            ("--mode", "HALTED", "--flatten", "--scope", "FEED", "--name", "unknown"),
            "There is no feed 'unknown'.\nFIELD_INVALID: .* Choose exits only",
        ),
        (
            ("--mode", "HALTED", "--flatten", "--scope", "BROKER_TYPE", "--name", "mt9"),
            "is not a broker type.*\nFIELD_INVALID: .* Choose exits only",
        ),
    ],
)
def test_wrong_targets_are_explained(arguments: tuple[str, ...], text: str) -> None:
    with pytest.raises(CommandError, match=text.replace("?", r"\?")):
        killswitch("set", "--reason", "r", "--yes", *arguments)
    assert not KillSwitch.objects.exists()


def test_unknown_number_is_explained() -> None:
    with pytest.raises(CommandError, match="There is no halt 7"):
        killswitch("release", "7")
