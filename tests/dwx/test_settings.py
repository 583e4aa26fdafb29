"""The form of a connection."""

from typing import Any

import pytest

from brokers.registry import capabilities_of, form_of
from common.errors import InvalidInputError
from tests.dwx.factories import Account


def test_form_accepts_the_settings_that_the_adapter_reads(account: Account) -> None:
    form = form_of("mt4")
    assert account.adapter.form is form
    assert form.validate(dict(account.spec.settings))["folder"] == "alice"
    assert [field.key for field in form.secrets] == ["password"]
    assert capabilities_of("mt4", account.spec) == account.adapter.capabilities(account.spec)


@pytest.mark.parametrize(
    "changes",
    [{"folder": "../alice"}, {"folder": ""}, {"symbols": ""}, {"symbols": "DAX"},
     {"symbols": ["a|b"]}, {"server_zone": "Mars"}, {"history_days": 0}, {"take_seconds": 0},
     {"answer_seconds": 1e9}, {"hedge": True}],
)  # fmt: skip
def test_invalid_settings_are_refused(account: Account, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        form_of("mt4").validate({**account.spec.settings, **changes})
