"""Malformed messages, an order that raises an error, a report that cannot be stored."""

import pytest

from common.process.message_queues import queue_keys
from tests.faults.environment import FaultEnvironment
from tests.faults.test_entries import all_ended

pytestmark = [pytest.mark.faults]
EXECUTE = "ExecuteSignal"
POISON = """
CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF NEW.order_id = (SELECT min(id) FROM execution_order) THEN RAISE EXCEPTION 'poisoned'; END IF;
  RETURN NEW; END $$;
CREATE TRIGGER poison BEFORE INSERT ON execution_fill FOR EACH ROW EXECUTE FUNCTION poison();
"""


@pytest.mark.quick
def test_malformed_messages_are_dropped_and_delay_no_order(
    environment: FaultEnvironment,
) -> None:
    worker = environment.fleet.worker()
    environment.quote()
    environment.operator.do("publish", feed=50)
    environment.settle()
    done = [row.id for row in environment.ours.rows("SELECT id FROM execution_order")]
    malformed: list[list[object]] = [
        ["no id"], [7], [None], [{"a": 1}], [["x"]], [[1.5]], [[True]], [[10**30]], [[-1]],
        [list(range(10_000))], [[999_999_999]], [done], [], [[1], [2]],
    ]  # fmt: skip
    for arguments in malformed:
        environment.operator.do("send", name=EXECUTE, arguments=arguments, queue="execution")
    environment.operator.do("send", name="execution.no_such_task", arguments=[], queue="execution")
    accepted = environment.count.accepted()
    environment.operator.do("publish", feed=50)
    environment.settle()
    assert worker.alive
    sums = environment.ours.rows(
        "SELECT name, sum(count) AS n FROM execution_droppedmessagecount GROUP BY name"
    )
    counts = {row.name: row.n for row in sums}
    assert counts["message.malformed"] == 12
    assert counts["message.unknown_ids"] == 1
    assert counts["message.ended"] >= 50
    assert counts["message.unknown_task"] == 1
    assert environment.count.accepted() == accepted + 50
    all_ended(environment, 100, absent_at_most=0)
    redis = environment.servers.redis_client()
    assert [redis.llen(key) for key in queue_keys("execution")] == [0, 0, 0, 0]


def test_random_bytes_in_queue_do_not_end_a_worker(
    environment: FaultEnvironment,
) -> None:
    worker = environment.fleet.worker()
    environment.quote()
    for garbage in (b"\\xff\\xfe", b"{}", b"[]", b"null", b'{"body": 7}'):
        environment.servers.redis_client().lpush("execution", garbage)
    environment.operator.do("publish", feed=50)
    environment.settle()
    assert worker.alive
    all_ended(environment, 50, absent_at_most=0)
    environment.operator.do("publish", feed=50)
    environment.settle()
    all_ended(environment, 100, absent_at_most=0)


def test_order_that_breaks_processing_fails_alone(environment: FaultEnvironment) -> None:
    environment.fleet.worker(without="luck")
    environment.quote()
    environment.operator.do("publish", feed=200)
    environment.settle()
    assert environment.count.states() == {"FAILED ORDER_PROCESSING_FAILED": 4, "FILLED": 196}
    assert environment.count.wrong(200) == {}


def test_report_that_cannot_be_applied_becomes_drift_and_blocks_no_other(
    environment: FaultEnvironment,
) -> None:
    environment.fleet.worker()
    environment.ours.rows(POISON)
    environment.quote()
    environment.operator.do("publish", feed=200)
    environment.wait(lambda: environment.filled() == 199, "its neighbours were blocked")
    drift = "SELECT count(*) FROM execution_driftitem WHERE kind = 'REPORT_PROCESSING_FAILED'"
    environment.wait(lambda: environment.ours.value(drift) == 1, "it is no drift")
    environment.ours.rows("DROP TRIGGER poison ON execution_fill")
    environment.settle()
    all_ended(environment, 200, absent_at_most=0)
