"""Manual level changes: a level that would close the position at once is rejected."""

from decimal import Decimal as D

import pytest

from common.errors import InvalidInputError
from common.reason_codes import Code
from connections.models import ExecutionConnection
from execution.services import modify_position
from positions.models import ExecutionPosition
from signals.models import Feed
from tests.execution import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def position(alice: ExecutionConnection, feed: Feed) -> ExecutionPosition:
    """A buy with a stop at 1.09; it could be closed at 1.0999."""
    return factories.filled(factories.signal(feed))


@pytest.mark.parametrize(
    ("stop", "target", "code"),
    [
        ("1.09990", None, Code.STOP_WRONG_SIDE),  # at the price
        ("13.8", None, Code.STOP_WRONG_SIDE),
        (None, "1.09000", Code.TARGET_WRONG_SIDE),
        ("1.12", "1.11", Code.STOP_WRONG_SIDE),
    ],
)
def test_level_beyond_the_price_is_rejected(
    position: ExecutionPosition, stop: str | None, target: str | None, code: Code
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        modify_position(
            position.pk,
            stop_loss=D(stop) if stop else None,
            take_profit=D(target) if target else None,
        )
    assert refused.value.code == code
    position.refresh_from_db()
    assert (position.sl, position.tp) == (D("1.09000"), None)


def test_both_levels_beyond_the_price_are_named(position: ExecutionPosition) -> None:
    with pytest.raises(InvalidInputError) as refused:
        modify_position(position.pk, stop_loss=D("1.2"), take_profit=D("1.0"))
    errors = (refused.value, *refused.value.others)
    assert [error.field for error in errors] == ["stop_loss", "take_profit"]


def test_stop_that_locks_a_gain_is_accepted(
    alice: ExecutionConnection, position: ExecutionPosition
) -> None:
    factories.quote(alice, "1.12000")
    modify_position(position.pk, stop_loss=D("1.11"), take_profit=D("1.13"))
    position.refresh_from_db()
    assert (position.sl, position.tp) == (D("1.11"), D("1.13"))


def test_unchanged_level_that_the_price_has_passed_is_accepted(
    alice: ExecutionConnection, position: ExecutionPosition
) -> None:
    factories.quote(alice, "1.08000")
    modify_position(position.pk, stop_loss=D("1.09"), take_profit=D("1.13"))
    position.refresh_from_db()
    assert position.tp == D("1.13")


def test_no_level_is_rejected_without_a_price(
    alice: ExecutionConnection, position: ExecutionPosition
) -> None:
    ExecutionPosition.objects.update(price_source=None)
    modify_position(position.pk, stop_loss=D("1.2"), take_profit=None)
    position.refresh_from_db()
    assert position.sl == D("1.2")
