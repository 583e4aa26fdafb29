"""The kinds of rows that have a quota, with the number that an installation begins with."""

QUOTAS = {
    "accounts": 1_000,
    "alert tokens": 1_000,
    "API keys": 200,
    "cash flows entered within a day": 1_000,
    "channels": 200,
    "decision providers": 200,
    "drafts": 5_000,
    "feeds": 200,
    "invitations": 1_000,
    "loss limits": 5_000,
    "news calendars": 20,  # each holds up to 50,000 events
    "presets": 200,
    "price sources": 200,
    "requests for approval within a day": 50,  # each notifies all operators
    "subscriptions": 5_000,
    "versions of terms within a day": 100,
}
"""The default of each kind; users.quotas has others. docs/api.md states what counts."""


def setting_name(kind: str) -> str:
    """Return how users.quotas writes a kind."""
    return kind.lower().replace(" ", "-")
