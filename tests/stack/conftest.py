"""A started web process, which the tests of a file share."""

from collections.abc import Iterator
from typing import Any

import pytest
from nacl.public import PrivateKey

from tests.stack.running_stack import RunningStack, running_stack


@pytest.fixture(scope="module")
def stack(django_db_setup: None, django_db_blocker: Any) -> Iterator[RunningStack]:
    with django_db_blocker.unblock(), running_stack() as started:
        yield started


@pytest.fixture(autouse=True)
def public_key(settings: Any) -> None:
    """Set a key with which the rows of the worlds are sealed."""
    settings.FILLCAST_CREDENTIALS_PUBLIC_KEY = bytes(PrivateKey.generate().public_key)
