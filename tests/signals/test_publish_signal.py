"""`manage.py publish_signal`: whole files, invalid entries, and repeated files."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from signals.models import Feed, Signal
from signals.publishing.batch import entries_of
from users.models import User

OPEN = {"feed": "majors", "symbol": "EURUSD", "direction": "BUY", "sl": "1.08"}


class CommandRun:
    """A run of the command. summary: the last line of stdout; progress: stderr."""

    def __init__(self, *arguments: str) -> None:
        out, err = io.StringIO(), io.StringIO()
        self.code = 0
        try:
            call_command("publish_signal", *arguments, stdout=out, stderr=err)
        except SystemExit as end:
            self.code = int(end.code or 0)
        lines = out.getvalue().strip().splitlines()
        assert len(lines) == 1  # texts for people belong on stderr
        self.summary: dict[str, Any] = json.loads(lines[-1])
        self.progress = err.getvalue()


def run(tmp_path: Path, content: Any, *options: str) -> CommandRun:
    path = tmp_path / "signals.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return CommandRun(str(path), *options)


def counts(result: CommandRun) -> dict[str, int]:
    names = ("entries", "published", "already", "waiting", "refused")
    return {name: result.summary[name] for name in names if result.summary[name]}


def test_single_object_is_published(tmp_path: Path, feed: Feed) -> None:
    result = run(tmp_path, OPEN)
    signal = Signal.objects.get()
    assert signal.is_published
    assert (result.code, result.summary["ok"], counts(result)) == (
        0,
        True,
        {"entries": 1, "published": 1},
    )
    assert result.summary["results"][0]["signal"] == signal.pk
    assert signal.number in result.progress


def test_list_and_json_lines_with_follow_ups_are_published(tmp_path: Path, feed: Feed) -> None:
    opened = OPEN | {"external_id": "o"}
    close = {"feed": "majors", "action": "CLOSE", "refers_to_external_id": "o"}
    assert counts(run(tmp_path, [opened, close])) == {"entries": 2, "published": 2}
    lines = "\n".join(json.dumps(entry) for entry in (opened, close, OPEN)).encode()
    assert counts(run(tmp_path, lines)) == {"entries": 3, "already": 2, "published": 1}


def test_repeated_file_publishes_nothing(tmp_path: Path, feed: Feed) -> None:
    content = [OPEN, OPEN, OPEN | {"external_id": "e"}]  # two equal entries are two trades
    assert counts(run(tmp_path, content)) == {"entries": 3, "published": 3}
    again = run(tmp_path, content)
    assert (again.code, counts(again)) == (0, {"entries": 3, "already": 3})
    assert Signal.objects.count() == 3


def test_invalid_entries_are_reported_and_others_published(tmp_path: Path, feed: Feed) -> None:
    content = [
        OPEN,
        OPEN | {"sl": "NaN", "color": "red"},
        7,
        OPEN | {"symbol": "USDJPY"},
        {"feed": "majors", "action": "CLOSE", "refers_to": 10**9},
    ]
    result = run(tmp_path, content)
    assert (result.code, result.summary["ok"]) == (1, False)
    assert counts(result) == {"entries": 5, "published": 2, "refused": 3}
    errors = {
        entry["index"]: [(error["code"], error["field"]) for error in entry["errors"]]
        for entry in result.summary["results"]
        if entry["outcome"] == "refused"
    }
    assert errors == {
        1: [("NUMBER_MALFORMED", "sl"), ("FIELD_UNKNOWN", "color")],
        2: [("BODY_NOT_JSON", "")],
        4: [("REFERENCE_REQUIRED", "refers_to")],
    }
    assert "#1 refused" in result.progress
    assert "content type" not in json.dumps(result.summary) + result.progress
    assert set(Signal.objects.values_list("currency_pair", flat=True)) == {"EUR/USD", "USD/JPY"}


def test_duplicate_key_rejects_only_its_entry(tmp_path: Path, feed: Feed) -> None:
    good = json.dumps(OPEN)
    twice = good[:-1] + ', "sl": "1.07"}'
    result = run(tmp_path, f"[{twice}, {good}]".encode())
    assert [entry["outcome"] for entry in result.summary["results"]] == ["refused", "published"]


def test_invalid_json_line_rejects_only_itself(tmp_path: Path, feed: Feed) -> None:
    result = run(tmp_path, b"oops\n" + json.dumps(OPEN).encode() + b'\n{"a":\n')
    assert [entry["outcome"] for entry in result.summary["results"]] == [
        "refused",
        "published",
        "refused",
    ]


@pytest.mark.parametrize(
    ("entry", "options", "code"),
    [
        ({"feed": "nowhere"}, (), "FEED_UNKNOWN"),
        ({"feed": ""}, (), "FIELD_REQUIRED"),
        ({}, ("--feed", "nowhere"), "FIELD_INVALID"),
        ({"valid_until": "2020-01-01T00:00:00Z"}, (), "SIGNAL_ENDED"),
    ],
)
def test_rejected_entry_stores_nothing(
    tmp_path: Path, feed: Feed, entry: dict[str, str], options: tuple[str, ...], code: str
) -> None:
    if options:  # both feeds exist, but they differ
        Feed.objects.create(slug="nowhere", name="n", owner=feed.owner)
    result = run(tmp_path, OPEN | entry, *options)
    assert (result.code, result.summary["results"][0]["errors"][0]["code"]) == (1, code)
    assert not Signal.objects.exists()


def test_changed_entry_with_a_known_id_is_rejected(tmp_path: Path, feed: Feed) -> None:
    run(tmp_path, OPEN | {"external_id": "e"})
    result = run(tmp_path, OPEN | {"external_id": "e", "sl": "1.07"})
    assert result.summary["results"][0]["errors"][0]["code"] == "DUPLICATE_SIGNAL"
    assert Signal.objects.count() == 1


def test_feed_option_applies_to_all_entries(tmp_path: Path, feed: Feed) -> None:
    result = run(tmp_path, {"symbol": "EURUSD", "direction": "SELL"}, "--feed", "majors")
    assert (result.code, counts(result)) == (0, {"entries": 1, "published": 1})


def test_signal_of_unapproved_feed_waits_for_an_operator(
    tmp_path: Path, unapproved: Feed, operator: User, provider: User
) -> None:
    entry = OPEN | {"feed": "newcomer"}
    result = run(tmp_path, entry)
    assert (result.code, counts(result)) == (1, {"entries": 1, "waiting": 1})
    assert not Signal.objects.published().exists()
    with pytest.raises(CommandError):
        run(tmp_path, entry, "--approve", "--by", provider.username)
    assert not Signal.objects.published().exists()
    result = run(tmp_path, entry, "--approve", "--by", operator.username)
    assert (result.code, counts(result)) == (0, {"entries": 1, "published": 1})
    assert Signal.objects.get().approved_by == operator


def test_dry_run_reports_and_changes_nothing(tmp_path: Path, feed: Feed) -> None:
    content = [
        OPEN | {"external_id": "o"},
        {"feed": "majors", "action": "CLOSE", "refers_to_external_id": "o"},
        OPEN | {"direction": "UP"},
    ]
    result = run(tmp_path, content, "--dry-run")
    assert (result.code, result.summary["dry_run"]) == (1, True)
    assert counts(result) == {"entries": 3, "published": 2, "refused": 1}
    assert not Signal.objects.exists()


@pytest.mark.parametrize("content", [b"", b"[]", b"no json", b"[{]", b"{", b"a\nb\n", b"\xff"])
def test_unreadable_file_exits_with_2(tmp_path: Path, feed: Feed, content: bytes) -> None:
    with pytest.raises(CommandError) as caught:
        run(tmp_path, content)
    assert caught.value.returncode == 2
    assert "BODY_NOT_JSON" in str(caught.value)
    assert str(caught.value).endswith("a list of them, or one object on each line.")


def test_missing_file_exits_with_2(tmp_path: Path) -> None:
    with pytest.raises(CommandError) as caught:
        CommandRun(str(tmp_path / "none.json"))
    assert caught.value.returncode == 2


def test_standard_input_is_read(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(json.dumps(OPEN).encode()))
    monkeypatch.setattr("sys.stdin", stdin)
    assert counts(CommandRun("-")) == {"entries": 1, "published": 1}


def test_pretty_printed_object_is_one_entry() -> None:
    assert len(entries_of(json.dumps(OPEN, indent=2).encode())) == 1
