"""What an owner fills in."""

from typing import Any

import pytest

from brokers.registry import capabilities_of, form_of
from common.errors import InvalidInputError
from tests.dwx.factories import Owner


def test_the_form_knows_what_the_adapter_reads(owner: Owner) -> None:
    form = form_of("mt4")
    assert owner.adapter.form is form
    assert form.validate(dict(owner.spec.settings))["folder"] == "alice"
    assert [one.key for one in form.secrets] == ["password"]
    assert capabilities_of("mt4", owner.spec) == owner.adapter.capabilities(owner.spec)


@pytest.mark.parametrize(
    "said",
    [{"folder": "../alice"}, {"folder": ""}, {"symbols": ""}, {"symbols": "DAX"},
     {"symbols": ["a|b"]}, {"server_zone": "Mars"}, {"history_days": 0}, {"take_seconds": 0},
     {"answer_seconds": 1e9}, {"hedge": True}],
)  # fmt: skip
def test_settings_that_are_refused(owner: Owner, said: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        form_of("mt4").validate({**owner.spec.settings, **said})
