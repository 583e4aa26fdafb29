"""Every page of the console with a secret needs a fresh second factor."""

import pytest

from connections.models import ExecutionConnection
from tests.portal.conftest import SignedIn
from tests.portal.factor_steps import rita
from tests.portal.secret_pages import expect_fresh_factor, pages_of, with_credentials
from users.models import User

__all__ = ["rita", "with_credentials"]


@pytest.mark.usefixtures("private_feeds")
def test_every_console_page_with_a_secret_needs_a_fresh_factor(
    signed_in: SignedIn, rita: User, with_credentials: ExecutionConnection, as_web: None
) -> None:
    ends = ("/credentials/", "/decisionprovider/add/", "/edit/")
    expect_fresh_factor(rita, signed_in, pages_of("admin:"), *ends)
