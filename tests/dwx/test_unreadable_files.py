"""Messages that are lost, files that are half-written: read again, never believed by halves."""

from itertools import count
from pathlib import Path
from typing import Any

import pytest

from brokers.base import NotSent, OutcomeUnknown, ReadFailed
from brokers.dwx import parse
from brokers.dwx.folders import TerminalUnavailableError
from brokers.dwx.raw_text import quoted_text
from brokers.dwx.shared_files import read_whole
from brokers.types import ReportKind
from common.reason_codes import Code
from tests.dwx.factories import Owner, raises_outcome, run
from tests.dwx.waiting import wait_until_absent


def test_a_lost_message_is_normal(owner: Owner) -> None:
    owner.terminal.fault(lose_messages=True)
    entry = owner.buy()
    assert entry.kind is ReportKind.FILLED
    [left] = owner.submit(owner.exit(entry.broker_position_id))
    assert left.fills[0].quantity == 10000


def test_a_refusal_without_its_message_is_unknown_and_then_absent(owner: Owner) -> None:
    owner.terminal.fault(lose_messages=True, error="not enough money")
    owner.shorten_timeouts("answer_seconds")
    request = owner.order()
    with raises_outcome(OutcomeUnknown):
        owner.submit(request)
    owner.terminal.fault()
    wait_until_absent(owner, request.client_order_id)
    assert owner.terminal.journal() == []


def test_half_written_files_are_read_again(owner: Owner) -> None:
    owner.terminal.fault(half=["Orders", "Messages", "Historic_Trades"], half_seconds=0.1)
    entry = owner.buy()
    assert entry.kind is ReportKind.FILLED
    assert owner.find(entry.client_order_id) == [entry]
    assert [one.broker_position_id for one in owner.positions()] == ["1001"]


def test_a_file_that_stays_half_written_is_no_answer(owner: Owner) -> None:
    request = owner.order()
    owner.submit(request)
    owner.terminal.write_half("Orders")
    owner.minimize_timeouts()
    with raises_outcome(ReadFailed, Code.NOT_CONNECTED):
        owner.positions()
    with raises_outcome(ReadFailed):
        owner.find(request.client_order_id)
    with raises_outcome(NotSent):
        owner.buy()
    assert len(owner.terminal.journal()) == 1


def test_what_cannot_be_read_after_an_order_is_kept_as_it_came(owner: Owner) -> None:
    owner.buy()
    owner.terminal.fault(half_after=["Orders"], half_tail=f" {owner.terminal.key} \0")
    with raises_outcome(OutcomeUnknown, Code.REPLY_LOST) as caught:
        owner.buy()
    assert 'As it came: {"account_info": {"name": "Zo\\xe9"' in caught[0].detail
    assert caught[0].detail.endswith(" *** \\0")
    assert owner.terminal.key not in caught[0].detail
    assert len(caught[0].detail) < 2000


def test_what_came_is_kept_though_the_file_is_empty_or_away_at_the_last_look(
    tmp_path: Path,
) -> None:
    path = tmp_path / "DWX_Orders.txt"
    path.write_bytes(b'{"account_info": {')
    looks = count()

    def read(raw: bytes) -> dict[str, Any]:
        if next(looks) < 2:
            path.write_bytes(b"")  # the terminal begins to write it anew
        elif path.exists():
            path.unlink()
        return parse.load(raw)

    with pytest.raises(TerminalUnavailableError) as caught:
        run(read_whole(path, read, 0.1))
    assert caught.value.raw == b'{"account_info": {'
    assert not path.exists()


def test_messages_that_cannot_be_read_are_kept_as_they_came(owner: Owner) -> None:
    owner.buy()
    owner.terminal.fault(error="no connection", half_after=["Messages"], half_tail=" <end>")
    with raises_outcome(OutcomeUnknown, Code.REPLY_LOST) as caught:
        owner.buy()
    assert caught[0].detail.startswith("No effect was seen. As it came: {")
    assert caught[0].detail.endswith(" <end>")


def test_what_came_is_cut_and_told_without_secrets() -> None:
    told = quoted_text(b"a" * 7_995 + b"s3cret" + b"b" * 50_000 + b"end", {"password": "s3cret"})
    assert len(told) < 1_600
    assert told.startswith("As it came: aaa")
    assert told.endswith("bbend")
    assert "s3c" not in told
    assert quoted_text(b'{"key": "s3cr', {"password": "s3cret"}) == 'As it came: {"key": "***'
    assert quoted_text("{½".encode("utf-16"), {}) == "As it came: {½"
    assert quoted_text(b"", {}) == ""


def test_messages_that_stay_half_written_hold_orders_back(owner: Owner) -> None:
    owner.buy()
    (owner.terminal.folder / "DWX_Messages.txt").write_bytes(b'{"1": {"type"')
    with raises_outcome(NotSent, Code.NOT_CONNECTED) as caught:
        owner.buy()
    assert "half-written" in caught[0].detail
    assert len(owner.terminal.journal()) == 1
