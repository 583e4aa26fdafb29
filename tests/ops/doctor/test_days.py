"""The check of trading days, as the command runs it: outside of any transaction."""

import pytest

from brokers.types import CheckResult
from ops.doctor.days import trading_days


@pytest.mark.django_db(transaction=True)
def test_trading_days_are_checked_without_a_transaction() -> None:
    assert trading_days().result is CheckResult.OK
