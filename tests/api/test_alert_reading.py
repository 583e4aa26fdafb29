"""Reading an alert over the API without publishing it, and the feed's mapping."""

import pytest

from signals.models import Signal
from tests.api.factories import World


@pytest.mark.django_db
def test_text_is_read_with_the_feeds_mapping_and_not_published(world: World) -> None:
    client, path = world.client("paula"), f"/api/v1/feeds/{world.public.slug}"
    before = Signal.objects.filter(feed=world.public).count()
    mapping = {"mapping": {"symbols": {"FIBER": "EUR/USD"}}}
    assert client.patch(f"{path}/alert-mapping/", mapping, format="json").status_code == 200
    text = {"text": "BUY FIBER @ 1.0850 SL 1.0800 lot 0.1"}
    read = client.post(f"{path}/alerts/read/", text, format="json").json()
    assert read["dialect"] == "text signal"
    assert {"name": "symbol", "value": "EUR/USD"} in read["fields"]
    assert "lot 0.1" in [note["text"] for note in read["notes"]]
    refused = client.post(f"{path}/alerts/read/", {"text": "buy?"}, format="json")
    assert refused.status_code == 200
    assert refused.json()["errors"][0]["code"] == "ALERT_NOT_UNDERSTOOD"
    faulty = {"mapping": {"sides": {"buy": "SELL"}}}
    assert client.patch(f"{path}/alert-mapping/", faulty, format="json").status_code == 400
    assert Signal.objects.filter(feed=world.public).count() == before
