"""What all tests of the engine on crypto accounts share."""

import pytest

from execution import job_table


@pytest.fixture(autouse=True)
def dust_is_found_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for the job that books what an exchange's step leaves over, but tests do."""
    monkeypatch.setattr(job_table, "UPKEEP_SECONDS", 0.5)
