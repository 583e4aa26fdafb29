"""`manage.py publish_signal` on feeds with accounts: an entry that none can take is refused."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from execution.models import Order
from signals.models import Feed, Signal
from tests.execution import factories
from tests.execution.fake_broker import FakeBroker

pytestmark = pytest.mark.django_db
OPEN = {"symbol": "EUR/USD", "direction": "BUY", "sl": "1.09", "tp": "1.12"}
ABOVE = OPEN | {"sl": "1.11", "note": "the stop of a sell"}


def publish(path: Path, feed: Feed, *options: str) -> tuple[dict[str, Any], str]:
    """Run the command; return its summary and what it printed for people."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command(
            "publish_signal", str(path), "--feed", feed.slug, *options, stdout=out, stderr=err
        )
    assert ended.value.code == 1
    return json.loads(out.getvalue().splitlines()[-1]), err.getvalue()


@pytest.mark.parametrize("dry", [True, False], ids=["dry run", "published"])
def test_entry_that_no_account_can_take_is_refused_and_others_published(
    tmp_path: Path, feed: Feed, broker: FakeBroker, dry: bool
) -> None:
    accounts = [factories.account(feed, type="paper") for _ in range(2)]
    path = tmp_path / "signals.json"
    path.write_text(json.dumps([OPEN, ABOVE]))
    summary, words = publish(path, feed, *(["--dry-run"] if dry else []))
    assert (summary["published"], summary["refused"]) == (1, 1)
    refused = summary["results"][1]
    assert (refused["index"], refused["outcome"]) == (1, "refused")
    (fault,) = refused["errors"]
    assert (fault["code"], fault["field"]) == ("STOP_AT_ENTRY", "sl")
    assert "Entry 1.1, level 1.11." in fault["detail"]
    assert "#1 refused" in words
    assert "STOP_AT_ENTRY sl:" in words
    assert Signal.objects.count() == (0 if dry else 1)
    assert Order.objects.count() == (0 if dry else len(accounts))


def test_entry_that_waits_for_approval_is_checked_too(
    tmp_path: Path, feed: Feed, broker: FakeBroker
) -> None:
    factories.account(feed, type="paper")
    Feed.objects.filter(pk=feed.pk).update(is_approved=False)
    path = tmp_path / "signals.json"
    path.write_text(json.dumps([ABOVE, OPEN]))
    summary, _ = publish(path, feed)
    assert [one["outcome"] for one in summary["results"]] == ["refused", "waiting"]
    assert Signal.objects.count() == 1
