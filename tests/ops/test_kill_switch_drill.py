"""The drill of the kill switch: what it needs, and that it leaves nothing behind."""

import pytest

from connections.models import ExecutionConnection, HaltMode, KillSwitch
from execution.models import Order
from ops import kill_switch_drill as drill
from signals.models import Feed
from tests.execution import factories
from users.models import User

pytestmark = pytest.mark.usefixtures("inline_commits")


@pytest.fixture(autouse=True)
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker processes the orders: the drill gives up soon."""
    monkeypatch.setattr(drill, "TIME_LIMIT", 0.2)


def assert_nothing_is_left() -> None:
    assert not KillSwitch.objects.filter(released_at=None).exists()
    assert not ExecutionConnection.objects.filter(archived_at=None).exists()
    assert not Feed.objects.filter(archived_at=None).exists()


def test_without_a_worker_nothing_is_opened() -> None:
    with pytest.raises(drill.DrillError, match="No worker runs"):
        drill.run_drill(10, accounts=2)
    assert not ExecutionConnection.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_orders_that_no_worker_stops_are_reported_and_removed() -> None:
    factories.live_lease()
    reported: list[str] = []
    with pytest.raises(drill.DrillError, match="6 orders were not processed"):
        drill.run_drill(5, reported.append, accounts=2)
    assert reported[:3] == [
        "Opening 2 paper accounts …",
        "Publishing 3 signals to them: 6 orders …",
        "Halting these accounts …",
    ]
    assert Order.objects.count() == 6
    assert_nothing_is_left()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("moment", ["Publishing", "Halting", "Closing"])
def test_interrupted_drill_leaves_nothing(moment: str) -> None:
    factories.live_lease()

    def interrupt(text: str) -> None:
        if text.startswith(moment):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drill.run_drill(2, interrupt, accounts=1)
    assert not KillSwitch.objects.filter(released_at=None).exists()
    drill.clean_up()  # an interrupt of the cleaning itself
    assert_nothing_is_left()


def test_what_a_killed_drill_left_is_cleaned_up() -> None:
    user = User.objects.create(username=drill.NAME, is_active=False)
    drill._open_accounts(user, 2)
    drill._halt(user, HaltMode.HALTED)
    assert drill.clean_up()
    assert_nothing_is_left()
    assert not drill.clean_up()


@pytest.mark.django_db(transaction=True)
def test_what_a_killed_drill_left_is_removed_by_the_next() -> None:
    user = User.objects.create(username=drill.NAME, is_active=False)
    drill._open_accounts(user, 2)
    drill._halt(user, HaltMode.HALTED)
    factories.live_lease()
    with pytest.raises(drill.DrillError, match="not processed"):
        drill.run_drill(1, accounts=1)
    assert_nothing_is_left()
