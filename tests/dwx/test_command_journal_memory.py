"""Command journals in memory: no result depends on how much of them is cached."""

import os
import tempfile
import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokers.base import NotSent, Rejected
from brokers.dwx import command_journal, file_io
from brokers.dwx.adapter import DwxAdapter
from brokers.dwx.command_journal import CommandJournal
from brokers.dwx.sent_commands import CLOSE, GONE, OPEN, REFUSED, UNSENT, CommandFilter, SentCommand
from brokers.record_cache import RecordCache
from brokers.types import OrderReport, OrderType
from tests.dwx.factories import Account, raises_outcome, run
from tests.dwx.test_command_journal import record_snapshots
from tests.examples import examples
from tests.until import until

D = Decimal
LONG_AGO = 3600.0


def sent_command(number: int, **fields: Any) -> SentCommand:
    values = {
        "action": OPEN, "client_order_id": f"abc{number:014}0", "magic": number,
        "at": time.time() - LONG_AGO, "symbol": "EURUSD", "lots": D("0.1"), **fields,
    }  # fmt: skip
    return SentCommand(number=number, **values)


def write(path: Path, commands: Iterable[SentCommand]) -> None:
    """Write many commands at once."""
    file_io.append(
        path, b"".join(command_journal._line(command_journal._as_json(one)) for one in commands)
    )


SMALL = st.integers(1, 6)
ABOUT = st.builds(
    CommandFilter,
    st.frozensets(SMALL, max_size=3),
    st.frozensets(SMALL, max_size=2),
    st.frozensets(st.sampled_from(["abc000", "abc001"]), max_size=1),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("open"), SMALL),
        st.tuples(st.just("close"), st.tuples(SMALL, SMALL)),
        st.tuples(st.just("end"), st.tuples(SMALL, st.sampled_from([UNSENT, REFUSED, GONE]))),
        st.tuples(st.just("deals"), st.tuples(SMALL, st.lists(SMALL, max_size=2))),
        st.tuples(st.just("about"), ABOUT),
        st.tuples(st.just("all"), st.just(0)),
        st.tuples(st.just("drop"), st.booleans()),
        st.tuples(st.just("backup"), st.just(0)),
    ),
    max_size=25,
)


@settings(max_examples=examples(150))
@given(steps=STEPS)
def test_results_do_not_depend_on_evicted_commands(
    steps: list[tuple[str, Any]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.jsonl"
        journal, backup = CommandJournal(path, RecordCache()), b""
        for number, (step, value) in enumerate(steps, 1):
            match step:
                case "open":
                    write(path, [sent_command(number, magic=value, client_order_id="abc000")])
                case "close":
                    magic, ticket = value
                    fields = {"action": CLOSE, "ticket": ticket, "root": ticket, "magic": magic}
                    write(path, [sent_command(number, client_order_id="abc001", **fields)])
                case "end":
                    file_io.append(
                        path, command_journal._line({"number": value[0], "end": value[1]})
                    )
                case "deals":
                    journal.store_deals([sent_command(value[0], deals=value[1])])
                case "about":
                    assert journal.about(value) == CommandJournal(path, RecordCache()).about(value)
                case "all":
                    assert journal.commands() == CommandJournal(path, RecordCache()).commands()
                case "drop":
                    journal.drop(ended=value)
                case "backup":
                    if backup:
                        path.write_bytes(backup)
                    backup = path.read_bytes() if path.exists() else b""
        assert journal.commands() == CommandJournal(path, RecordCache()).commands()


def test_reads_of_many_journals_read_no_file_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_cache = RecordCache(300)
    journals = [CommandJournal(tmp_path / f"{n}.jsonl", record_cache) for n in range(30)]
    for n in range(30):
        write(tmp_path / f"{n}.jsonl", (sent_command(k) for k in range(1, 41)))
    open_now = CommandFilter(frozenset({3, 40}), frozenset({900, 901}))
    for journal in journals:
        assert [one.number for one in journal.about(open_now)] == [3, 40]
        assert len(record_cache) <= 300  # of 1,200
    read, real = 0, file_io.read

    def counted(path: Path, begin: int = 0) -> bytes:
        nonlocal read
        raw = real(path, begin)
        read += len(raw)
        return raw

    monkeypatch.setattr(file_io, "read", counted)
    for n, journal in enumerate(journals):
        for k in (41, 42):
            write(tmp_path / f"{n}.jsonl", [sent_command(k, magic=3, action=CLOSE, ticket=900)])
            assert [one.number for one in journal.about(open_now)][-1] == k
    whole = sum((tmp_path / f"{n}.jsonl").stat().st_size for n in range(30))
    assert read < whole / 4
    assert len(journals[0].commands()) == 42  # the file has them all
    assert len(record_cache) <= 300


def test_recent_command_is_not_evicted(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    journal = CommandJournal(path, record_cache := RecordCache(1000))
    write(
        path,
        [
            sent_command(1),
            sent_command(2, at=time.time()),
            sent_command(3, outcome=REFUSED, at=time.time()),
        ],
    )
    journal.about(CommandFilter(frozenset({9})))
    assert journal.drop(ended=True)
    assert list(journal._known) == [2]
    assert not journal.drop(ended=True)
    assert len(record_cache) == 1
    assert [
        one.number
        for one in journal.about(CommandFilter(ids=frozenset({sent_command(1).client_order_id})))
    ] == [1]


def test_later_commands_do_not_hide_evicted_ones(tmp_path: Path) -> None:
    """An entry was evicted. Its exit, which is sent now, is not its only command."""
    path = tmp_path / "ledger.jsonl"
    journal = CommandJournal(path, RecordCache(1000))
    write(path, [sent_command(1), sent_command(5)])  # the last command may still be in transit
    assert journal.about(CommandFilter(frozenset({9}))) == []
    assert journal.drop(ended=True)
    exit_ = sent_command(2, magic=1, action=CLOSE, ticket=77, at=time.time())
    write(path, [exit_, sent_command(3), sent_command(4)])
    assert journal.about(CommandFilter(frozenset({9}))) == []
    assert journal.drop(ended=True)
    assert [one.number for one in journal.about(CommandFilter(frozenset({1})))] == [1, 2]


def test_journal_of_one_terminal_fits_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    journal = CommandJournal(path, record_cache := RecordCache())
    write(path, (sent_command(n, outcome=REFUSED if n > 9_900 else "") for n in range(1, 10_002)))
    assert 1_000_000 < path.stat().st_size < command_journal.REWRITE_ABOVE
    record_snapshots(journal)
    assert journal.tidy()
    kept = [one.number for one in journal.commands()]
    assert (len(kept), kept[-1], kept[0]) == (9_000, 9_900, 901)
    assert journal.last_number() == 10_001
    assert len(record_cache) == 9_000
    written_at = os.stat(path).st_mtime_ns
    journal.tidy()
    assert os.stat(path).st_mtime_ns == written_at  # nothing is left to do


def test_command_written_during_compaction_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger.jsonl"
    journal = CommandJournal(path, RecordCache())
    record_snapshots(journal)
    write(path, (sent_command(n) for n in range(1, 10_002)))
    real = os.replace

    def replace(source: Any, target: Any) -> None:
        writer.start()  # the next call; the compacting one has been abandoned
        until(lambda: waits.is_set() or not writer.is_alive())
        real(source, target)

    class Lock:
        """The journal's lock, which notes that the writer asks for it."""

        held = journal._writing

        def __enter__(self) -> bool:
            if threading.current_thread() is writer:
                waits.set()
            return self.held.__enter__()

        def __exit__(self, *_: object) -> None:
            self.held.release()

    waits = threading.Event()
    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(journal, "_writing", Lock())
    compactor = threading.Thread(target=journal.tidy)
    writer = threading.Thread(target=lambda: journal.write(sent_command(20_000)))
    compactor.start()
    compactor.join(60)
    writer.join(60)
    assert CommandJournal(path, RecordCache()).commands()[-1].number == 20_000


def test_abandoned_call_does_not_rewrite_journal_after_disconnect(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.buy()
    [terminal] = account.adapter._terminals.values()
    path = account.terminal.folder / "fillcast/ledger.jsonl"
    terminal._numbers._reserved = 0  # a thousand commands later
    monkeypatch.setattr(command_journal, "COUNT_ABOVE", 1)
    monkeypatch.setattr(command_journal, "REWRITE_ABOVE", 1)
    run(account.adapter.disconnect())  # before the thread of the call starts
    before = path.read_bytes(), path.stat().st_ino
    with pytest.raises(OSError, match="released"):
        terminal._prepare(path.with_name("next-1.txt"), "", sent_command(1))
    assert (path.read_bytes(), path.stat().st_ino) == before


def test_unreadable_journal_does_not_keep_folder_locked(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.buy()
    run(account.adapter.disconnect())
    monkeypatch.setattr(command_journal, "COUNT_ABOVE", 1)
    path = account.terminal.folder / "fillcast/ledger.jsonl"
    good = path.read_bytes()
    path.write_bytes(good + b'\n{"number": 5, "what": "open"}\n')
    with raises_outcome(NotSent):
        account.buy()
    path.write_bytes(good)
    account.buy()


@pytest.fixture
def small_cache_account(account: Account) -> Account:
    """An account in whose process the cache has room for one record."""
    account.adapter = DwxAdapter(account.root, record_cache=RecordCache(1))
    return account


def all_reads(account: Account, ids: list[str]) -> list[object]:
    since = datetime.now(UTC) - timedelta(hours=1)
    reports = run(account.adapter.fills_since(account.spec, since))
    return [
        account.positions(),
        sorted(reports, key=lambda report: (report.client_order_id, report.broker_order_id)),
        [account.find(client_order_id) for client_order_id in ids],
        run(account.adapter.open_orders(account.spec)),
    ]


def test_reports_do_not_depend_on_cache_size(small_cache_account: Account) -> None:
    account = small_cache_account
    account.terminal.fault(rewrite_comment="MANAGED")  # only the journal has their client order ids
    open_entry, reduced, closed = (account.buy() for _ in range(3))
    working = account.buy(order_type=OrderType.LIMIT, limit_price=D("1.05"))
    exit_reports: list[OrderReport] = []
    exits = [
        account.exit(reduced.broker_position_id, "4000"),
        account.exit(closed.broker_position_id),
    ]
    for one in exits:
        exit_reports += account.submit(one)
    account.terminal.fault(rewrite_comment="MANAGED", error="not enough money")
    refused = account.order()
    with raises_outcome(Rejected):
        account.submit(refused)
    ids = [one.client_order_id for one in (open_entry, reduced, closed, working)]
    ids += [one.client_order_id for one in (*exits, refused)]
    with_small_cache = all_reads(account, ids)
    assert account.find(refused.client_order_id) is None
    assert {one.client_order_id for one in account.positions()} == set(ids[:2])
    assert [one.client_order_id for one in exit_reports] == ids[4:6]
    assert len(account.adapter._record_cache) <= 1
    account.restart()
    assert all_reads(account, ids) == with_small_cache
