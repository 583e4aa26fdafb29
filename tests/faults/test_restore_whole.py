"""The database goes back under real processes, while the broker goes on with its own books."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.faults import clusters
from tests.faults.place import Place, Story
from tests.faults.servers import manage

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]
N = 200
QUEUES = "execution,exits,maintenance"


def count(place: Place, statement: str, *parameters: Any) -> int:
    return int(place.ours.value(f"SELECT count(*) FROM {statement}", *parameters))


def told(place: Place, *options: str) -> tuple[int, dict[str, Any]]:
    """Exit code and last line of `manage.py new_epoch`."""
    done = manage({**place.fleet.environ, "FILLCAST_DB_ROLE": "trade"}, ["new_epoch", *options])
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


def remembered(folder: Path) -> int:
    """The mark that the file beside the database knows."""
    try:
        return int(json.loads((folder / "witness.json").read_text())["mark"])
    except FileNotFoundError:
        return 0


def go_on_after_the_backup(place: Place) -> int:
    """What waited is filled, a signal more, and ten positions are closed: nothing of this does the
    backup know. Returns how many orders the broker has accepted."""
    mark = int(place.ours.value("SELECT last_value FROM fillcast_mark"))
    meanwhile = place.fleet.worker("meanwhile", QUEUES)
    place.wait(lambda: place.filled() == 2 * N, "what waited is not filled", 60)
    place.hands.do("publish", feed=N)
    place.wait(lambda: place.filled() == 3 * N, "the last signal is not filled", 60)
    closed = [
        row.id
        for row in place.ours.rows(
            "SELECT id FROM positions_executionposition ORDER BY id LIMIT 10"
        )
    ]
    place.hands.do("close", positions=closed)
    place.wait(lambda: place.count.open_positions() == 3 * N - 10, "not closed")
    place.wait(lambda: remembered(place.folder) > mark, "nobody remembers the mark")
    meanwhile.kill()
    accepted = place.count.accepted()
    assert accepted == 3 * N + 10
    return accepted


def wait_until_compared(place: Place) -> None:
    """The broker's books, its accounts, and what was closed meanwhile."""
    place.wait(
        lambda: count(place, "execution_driftitem WHERE kind = 'FORGOTTEN_ORDER'") >= 2 * N,
        "the broker's books are not compared", 90,
    )  # fmt: skip
    place.wait(
        lambda: "UNCOMPARED" not in told(place, "--status")[1]["unsettled"],
        "the accounts are not compared", 90,
    )  # fmt: skip
    place.wait(
        lambda: count(place, "positions_executionposition WHERE quantity > 0") == N - 10,
        "what was closed meanwhile is still open here", 90,
    )  # fmt: skip


def test_what_the_broker_did_meanwhile_is_neither_sent_again_nor_hidden(
    place: Place, tmp_path: Path
) -> None:
    before = place.fleet.worker("before", QUEUES)
    place.quote()
    place.hands.do("publish", feed=N)
    place.wait(lambda: place.filled() == N, "the first signal is not filled", 60)
    before.kill()
    place.hands.do("publish", feed=N)  # waits at the backup
    backup = clusters.dump(tmp_path / "backup", place.ours.url)
    accepted = go_on_after_the_backup(place)

    place.ours.close()
    clusters.restore(backup, place.ours.url)
    place.fleet.worker("after", QUEUES)
    story = Story(place)
    open_epoch = "connections_epoch WHERE released_at IS NULL AND cause = 'BEHIND'"
    place.wait(lambda: count(place, open_epoch) == 1, "nobody saw it")
    states = place.count.states()
    assert (states["FILLED"], sum(states.values())) == (N, 2 * N)
    assert count(place, "execution_order WHERE reason = 'RESTORED_UNSENT'") == N
    wait_until_compared(place)
    seconds = story.end()
    assert place.count.accepted() == accepted, "something was sent"
    found = place.count.against_the_journal()
    must_be_0 = ("DUP", "RISEN", "REVERSED", "LOST", "MISMATCH", "GHOST", "PHANTOM")
    assert {name: found[name] for name in must_be_0} == dict.fromkeys(must_be_0, 0)
    assert found["ORPHAN"] >= 2 * N  # told as drift until somebody decides

    place.hands.do("publish", feed=N)
    assert count(place, "execution_order WHERE reason = 'ENTRIES_HALTED'") == N
    code, status = told(place, "--status")
    assert (code, status["open"], status["cause"]) == (1, True, "BEHIND")
    print(f"compared and told {seconds:.1f} s after the restore; {place.count.accepted()} accepted")
