"""Messages that make no sense, an order that breaks our program, a report that cannot be kept."""

import pytest

from tests.faults.place import Place
from tests.faults.test_entries import all_ended

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180, func_only=True)]
EXECUTE = "execution.execute_signal"
POISON = """
CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF NEW.order_id = (SELECT min(id) FROM execution_order) THEN RAISE EXCEPTION 'poisoned'; END IF;
  RETURN NEW; END $$;
CREATE TRIGGER poison BEFORE INSERT ON execution_fill FOR EACH ROW EXECUTE FUNCTION poison();
"""


@pytest.mark.quick
def test_messages_that_make_no_sense_are_dropped_and_delay_nobody(place: Place) -> None:
    worker = place.fleet.worker()
    place.quote()
    place.hands.do("publish", feed=50)
    place.settle()
    done = [row.id for row in place.ours.rows("SELECT id FROM execution_order")]
    senseless: list[list[object]] = [
        ["nonsense"], [7], [None], [{"a": 1}], [["x"]], [[1.5]], [[True]], [[10**30]], [[-1]],
        [list(range(10_000))], [[999_999_999]], [done], [], [[1], [2]],
    ]  # fmt: skip
    for arguments in senseless:
        place.hands.do("send", name=EXECUTE, arguments=arguments, queue="execution")
    place.hands.do("send", name="execution.no_such_task", arguments=[], queue="execution")
    accepted = place.count.accepted()
    place.hands.do("publish", feed=50)
    place.settle()
    assert worker.alive
    sums = place.ours.rows("SELECT name, sum(n) AS n FROM execution_tally GROUP BY name")
    tallies = {row.name: row.n for row in sums}
    assert tallies["message.malformed"] == 12
    assert tallies["message.unknown_ids"] == 1
    assert tallies["message.ended"] >= 50
    assert tallies["message.unknown_task"] == 1
    assert place.count.accepted() == accepted + 50
    all_ended(place, 100, absent_at_most=0)
    assert place.servers.redis_client().llen("execution") == 0


def test_a_message_that_is_no_message_at_all_does_not_end_a_worker(place: Place) -> None:
    worker = place.fleet.worker()
    place.quote()
    for garbage in (b"\\xff\\xfe", b"{}", b"[]", b"null", b'{"body": 7}'):
        place.servers.redis_client().lpush("execution", garbage)
    place.hands.do("publish", feed=50)
    place.settle()
    assert worker.alive
    all_ended(place, 50, absent_at_most=0)
    place.hands.do("publish", feed=50)
    place.settle()
    all_ended(place, 100, absent_at_most=0)


def test_an_order_that_breaks_our_program_fails_alone(place: Place) -> None:
    place.fleet.worker(without="luck")
    place.quote()
    place.hands.do("publish", feed=200)
    place.settle()
    assert place.count.states() == {"FAILED POISONED": 4, "FILLED": 196}
    assert place.count.wrong(200) == {}


def test_a_report_that_cannot_be_kept_becomes_drift_and_blocks_nobody(place: Place) -> None:
    place.fleet.worker()
    place.ours.rows(POISON)
    place.quote()
    place.hands.do("publish", feed=200)
    place.wait(lambda: place.filled() == 199, "its neighbours were blocked")
    drift = "SELECT count(*) FROM execution_driftitem WHERE kind = 'POISONED_REPORT'"
    place.wait(lambda: place.ours.value(drift) == 1, "it is no drift")
    place.ours.rows("DROP TRIGGER poison ON execution_fill")
    place.settle()
    all_ended(place, 200, absent_at_most=0)
