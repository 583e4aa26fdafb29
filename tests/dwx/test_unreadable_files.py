"""Lost messages and half-written files: they are read again and never used in part."""

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
from tests.dwx.factories import Account, raises_outcome, run
from tests.dwx.waiting import wait_until_absent


def test_lost_messages_do_not_matter(account: Account) -> None:
    account.terminal.fault(lose_messages=True)
    entry = account.buy()
    assert entry.kind is ReportKind.FILLED
    [exit_report] = account.submit(account.exit(entry.broker_position_id))
    assert exit_report.fills[0].quantity == 10000


def test_rejection_without_message_is_unknown_then_absent(account: Account) -> None:
    account.terminal.fault(lose_messages=True, error="not enough money")
    account.shorten_timeouts("answer_seconds")
    request = account.order()
    with raises_outcome(OutcomeUnknown):
        account.submit(request)
    account.terminal.fault()
    wait_until_absent(account, request.client_order_id)
    assert account.terminal.journal() == []


def test_half_written_files_are_read_again(account: Account) -> None:
    account.terminal.fault(half=["Orders", "Messages", "Historic_Trades"], half_seconds=0.1)
    entry = account.buy()
    assert entry.kind is ReportKind.FILLED
    assert account.find(entry.client_order_id) == [entry]
    assert [one.broker_position_id for one in account.positions()] == ["1001"]


def test_file_that_stays_half_written_fails_calls(account: Account) -> None:
    request = account.order()
    account.submit(request)
    account.terminal.write_half("Orders")
    account.minimize_timeouts()
    with raises_outcome(ReadFailed, Code.NOT_CONNECTED):
        account.positions()
    with raises_outcome(ReadFailed):
        account.find(request.client_order_id)
    with raises_outcome(NotSent):
        account.buy()
    assert len(account.terminal.journal()) == 1


def test_unreadable_file_after_order_is_quoted_in_detail(account: Account) -> None:
    account.buy()
    account.terminal.fault(half_after=["Orders"], half_tail=f" {account.terminal.key} \0")
    with raises_outcome(OutcomeUnknown, Code.REPLY_LOST) as caught:
        account.buy()
    assert 'As it came: {"account_info": {"name": "Zo\\xe9"' in caught[0].detail
    assert caught[0].detail.endswith(" *** \\0")
    assert account.terminal.key not in caught[0].detail
    assert len(caught[0].detail) < 2000


def test_last_content_is_quoted_when_file_vanishes(
    tmp_path: Path,
) -> None:
    path = tmp_path / "DWX_Orders.txt"
    path.write_bytes(b'{"account_info": {')
    reads = count()

    def read(raw: bytes) -> dict[str, Any]:
        if next(reads) < 2:
            path.write_bytes(b"")  # the terminal starts to rewrite it
        elif path.exists():
            path.unlink()
        return parse.load(raw)

    with pytest.raises(TerminalUnavailableError) as caught:
        run(read_whole(path, read, 0.1))
    assert caught.value.raw == b'{"account_info": {'
    assert not path.exists()


def test_unreadable_messages_are_quoted_in_detail(account: Account) -> None:
    account.buy()
    account.terminal.fault(error="no connection", half_after=["Messages"], half_tail=" <end>")
    with raises_outcome(OutcomeUnknown, Code.REPLY_LOST) as caught:
        account.buy()
    assert caught[0].detail.startswith("No effect was seen. As it came: {")
    assert caught[0].detail.endswith(" <end>")


def test_quoted_text_is_cut_and_has_no_secrets() -> None:
    text = quoted_text(b"a" * 7_995 + b"s3cret" + b"b" * 50_000 + b"end", {"password": "s3cret"})
    assert len(text) < 1_600
    assert text.startswith("As it came: aaa")
    assert text.endswith("bbend")
    assert "s3c" not in text
    assert quoted_text(b'{"key": "s3cr', {"password": "s3cret"}) == 'As it came: {"key": "***'
    assert quoted_text("{½".encode("utf-16"), {}) == "As it came: {½"
    assert quoted_text(b"", {}) == ""


def test_half_written_messages_block_orders(account: Account) -> None:
    account.buy()
    (account.terminal.folder / "DWX_Messages.txt").write_bytes(b'{"1": {"type"')
    with raises_outcome(NotSent, Code.NOT_CONNECTED) as caught:
        account.buy()
    assert "half-written" in caught[0].detail
    assert len(account.terminal.journal()) == 1
