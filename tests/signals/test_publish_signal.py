"""`manage.py publish_signal`: whole files, faulty entries, and the same file again."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from signals.batch import entries_of
from signals.models import Feed, Signal
from users.models import User

OPEN = {"feed": "majors", "symbol": "EURUSD", "direction": "BUY", "sl": "1.08"}


class Ran:
    """One run of the command: exit code, summary (stdout's last line), words (stderr)."""

    def __init__(self, *arguments: str) -> None:
        out, err = io.StringIO(), io.StringIO()
        self.code = 0
        try:
            call_command("publish_signal", *arguments, stdout=out, stderr=err)
        except SystemExit as end:
            self.code = int(end.code or 0)
        lines = out.getvalue().strip().splitlines()
        assert len(lines) == 1  # words belong on stderr
        self.summary: dict[str, Any] = json.loads(lines[-1])
        self.words = err.getvalue()


def run(tmp_path: Path, content: Any, *options: str) -> Ran:
    path = tmp_path / "signals.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return Ran(str(path), *options)


def counts(ran: Ran) -> dict[str, int]:
    names = ("entries", "published", "already", "waiting", "refused")
    return {name: ran.summary[name] for name in names if ran.summary[name]}


def test_one_object_is_published(tmp_path: Path, feed: Feed) -> None:
    ran = run(tmp_path, OPEN)
    signal = Signal.objects.get()
    assert signal.is_published
    assert (ran.code, ran.summary["ok"], counts(ran)) == (0, True, {"entries": 1, "published": 1})
    assert ran.summary["results"][0]["signal"] == signal.pk
    assert signal.number in ran.words


def test_a_list_and_lines_with_followers(tmp_path: Path, feed: Feed) -> None:
    opened = OPEN | {"external_id": "o"}
    close = {"feed": "majors", "action": "CLOSE", "refers_to_external_id": "o"}
    assert counts(run(tmp_path, [opened, close])) == {"entries": 2, "published": 2}
    lines = "\n".join(json.dumps(one) for one in (opened, close, OPEN)).encode()
    assert counts(run(tmp_path, lines)) == {"entries": 3, "already": 2, "published": 1}


def test_the_same_file_again_publishes_nothing(tmp_path: Path, feed: Feed) -> None:
    content = [OPEN, OPEN, OPEN | {"external_id": "e"}]  # two equal entries are two trades
    assert counts(run(tmp_path, content)) == {"entries": 3, "published": 3}
    again = run(tmp_path, content)
    assert (again.code, counts(again)) == (0, {"entries": 3, "already": 3})
    assert Signal.objects.count() == 3


def test_a_faulty_entry_is_named_and_its_neighbours_are_published(
    tmp_path: Path, feed: Feed
) -> None:
    content = [
        OPEN,
        OPEN | {"sl": "NaN", "color": "red"},
        7,
        OPEN | {"symbol": "USDJPY"},
        {"feed": "majors", "action": "CLOSE", "refers_to": 10**9},
    ]
    ran = run(tmp_path, content)
    assert (ran.code, ran.summary["ok"]) == (1, False)
    assert counts(ran) == {"entries": 5, "published": 2, "refused": 3}
    errors = {
        one["index"]: [(fault["code"], fault["field"]) for fault in one["errors"]]
        for one in ran.summary["results"]
        if one["outcome"] == "refused"
    }
    assert errors == {
        1: [("NUMBER_MALFORMED", "sl"), ("FIELD_UNKNOWN", "color")],
        2: [("BODY_NOT_JSON", "")],
        4: [("REFERENCE_REQUIRED", "refers_to")],
    }
    assert "#1 refused" in ran.words
    assert set(Signal.objects.values_list("currency_pair", flat=True)) == {"EUR/USD", "USD/JPY"}


def test_a_key_twice_spoils_only_its_own_entry(tmp_path: Path, feed: Feed) -> None:
    good = json.dumps(OPEN)
    twice = good[:-1] + ', "sl": "1.07"}'
    ran = run(tmp_path, f"[{twice}, {good}]".encode())
    assert [one["outcome"] for one in ran.summary["results"]] == ["refused", "published"]


def test_a_line_that_is_no_json_spoils_only_itself(tmp_path: Path, feed: Feed) -> None:
    ran = run(tmp_path, b"oops\n" + json.dumps(OPEN).encode() + b'\n{"a":\n')
    assert [one["outcome"] for one in ran.summary["results"]] == ["refused", "published", "refused"]


@pytest.mark.parametrize(
    ("entry", "options", "code"),
    [
        ({"feed": "nowhere"}, (), "FEED_UNKNOWN"),
        ({"feed": ""}, (), "FIELD_REQUIRED"),
        ({}, ("--feed", "nowhere"), "FIELD_INVALID"),
        ({"valid_until": "2020-01-01T00:00:00Z"}, (), "SIGNAL_ENDED"),
    ],
)
def test_what_is_refused_leaves_nothing(
    tmp_path: Path, feed: Feed, entry: dict[str, str], options: tuple[str, ...], code: str
) -> None:
    if options:  # both feeds are there; they only disagree
        Feed.objects.create(slug="nowhere", name="n", owner=feed.owner)
    ran = run(tmp_path, OPEN | entry, *options)
    assert (ran.code, ran.summary["results"][0]["errors"][0]["code"]) == (1, code)
    assert not Signal.objects.exists()


def test_a_changed_entry_under_a_known_id_is_refused(tmp_path: Path, feed: Feed) -> None:
    run(tmp_path, OPEN | {"external_id": "e"})
    ran = run(tmp_path, OPEN | {"external_id": "e", "sl": "1.07"})
    assert ran.summary["results"][0]["errors"][0]["code"] == "DUPLICATE_SIGNAL"
    assert Signal.objects.count() == 1


def test_the_feed_may_be_named_once_for_all(tmp_path: Path, feed: Feed) -> None:
    ran = run(tmp_path, {"symbol": "EURUSD", "direction": "SELL"}, "--feed", "majors")
    assert (ran.code, counts(ran)) == (0, {"entries": 1, "published": 1})


def test_an_unapproved_feed_waits_until_an_operator_says_so(
    tmp_path: Path, unapproved: Feed, operator: User, provider: User
) -> None:
    entry = OPEN | {"feed": "newcomer"}
    ran = run(tmp_path, entry)
    assert (ran.code, counts(ran)) == (1, {"entries": 1, "waiting": 1})
    assert not Signal.objects.published().exists()
    with pytest.raises(CommandError):
        run(tmp_path, entry, "--approve", "--by", provider.username)
    assert not Signal.objects.published().exists()
    ran = run(tmp_path, entry, "--approve", "--by", operator.username)
    assert (ran.code, counts(ran)) == (0, {"entries": 1, "published": 1})
    assert Signal.objects.get().approved_by == operator


def test_a_dry_run_tells_and_changes_nothing(tmp_path: Path, feed: Feed) -> None:
    content = [
        OPEN | {"external_id": "o"},
        {"feed": "majors", "action": "CLOSE", "refers_to_external_id": "o"},
        OPEN | {"direction": "UP"},
    ]
    ran = run(tmp_path, content, "--dry-run")
    assert (ran.code, ran.summary["dry_run"]) == (1, True)
    assert counts(ran) == {"entries": 3, "published": 2, "refused": 1}
    assert not Signal.objects.exists()


@pytest.mark.parametrize("content", [b"", b"[]", b"nonsense", b"[{]", b"{", b"a\nb\n", b"\xff"])
def test_a_file_that_cannot_be_read_ends_with_2(tmp_path: Path, feed: Feed, content: bytes) -> None:
    with pytest.raises(CommandError) as caught:
        run(tmp_path, content)
    assert caught.value.returncode == 2
    assert "BODY_NOT_JSON" in str(caught.value)


def test_a_missing_file_ends_with_2(tmp_path: Path) -> None:
    with pytest.raises(CommandError) as caught:
        Ran(str(tmp_path / "none.json"))
    assert caught.value.returncode == 2


def test_standard_input_is_read(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(json.dumps(OPEN).encode()))
    monkeypatch.setattr("sys.stdin", stdin)
    assert counts(Ran("-")) == {"entries": 1, "published": 1}


def test_a_pretty_printed_object_is_one_entry() -> None:
    assert len(entries_of(json.dumps(OPEN, indent=2).encode())) == 1
