"""How many statements each page sends: few, whatever it shows. `make bench ONLY=pages` times them.

Statements of `common.sql` count as those of the ORM do.
"""

from collections import Counter
from typing import Any

import pytest
from django.urls import reverse

from tests.portal.conftest import SignedIn
from tests.portal.factories import World
from tests.portal.test_access import OPEN, args, names
from tests.statements import sent_statements

MOST = 12
pytestmark = pytest.mark.usefixtures("private_feeds")


@pytest.mark.parametrize("name", [name for name in names() if name not in OPEN])
def test_page_sends_few_statements(
    world: World, signed_in: SignedIn, as_web: None, name: str
) -> None:
    client = signed_in(world.alice)
    address = reverse(f"portal:{name}", kwargs=args(world, name, "alice"))
    client.get(address)  # what is read once in a process
    with sent_statements() as sent:
        answer: Any = client.get(address)
        b"".join(answer.streaming_content) if answer.streaming else answer.content
    assert len(sent) <= MOST, Counter(sent).most_common()
