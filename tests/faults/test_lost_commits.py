"""The answer to the COMMIT of intents is lost: they are stored, and the worker cannot know it."""

from urllib.parse import urlsplit

import pytest

from tests.faults.commit_proxy import CommitProxy
from tests.faults.environment import ACCOUNTS, FaultEnvironment, Scenario

pytestmark = [pytest.mark.faults]
N = ACCOUNTS


def proxy_to(environment: FaultEnvironment, **fields: int) -> CommitProxy:
    parts = urlsplit(environment.ours.url)
    assert parts.hostname is not None
    assert parts.port is not None
    return CommitProxy((parts.hostname, parts.port), **fields)


def url_through(environment: FaultEnvironment, proxy: CommitProxy) -> str:
    parts = urlsplit(environment.ours.url)
    return environment.ours.url.replace(f":{parts.port}/", f":{proxy.port}/")


@pytest.mark.parametrize(("cuts", "every"), [pytest.param(1, 1, marks=[pytest.mark.quick]), (3, 2)])
def test_lost_answer_to_a_commit_of_intents_sends_nothing_twice(
    environment: FaultEnvironment, cuts: int, every: int
) -> None:
    """The worker lives on and sends what has not left; of what has, nothing is sent again."""
    environment.broker(reply_delay_ms=100)
    environment.quote()
    with proxy_to(environment, cuts=cuts, every=every) as proxy:
        worker = environment.fleet.worker("worker", DATABASE_URL=url_through(environment, proxy))
        environment.operator.do("publish", feed=N)
        environment.wait(lambda: proxy.done > 0, "no commit of intents was cut")
        scenario = Scenario(environment)
        environment.settle(180)
        scenario.end()
        assert worker.alive
        states = environment.count.states()
        assert environment.count.accepted() == states.get("FILLED", 0)
        assert states == {"FILLED": N}
        assert environment.count.wrong(N) == {}
        # Work goes on: the next publication is filled.
        environment.operator.do("publish", feed=N)
        environment.wait(lambda: environment.filled() == 2 * N, "the worker does not trade on")
        assert environment.count.wrong(2 * N) == {}
