"""A backup is made, every container and volume is lost, and the backup is restored."""

from tests.containers.installation import Installation


def run(installation: Installation) -> None:
    """Restore into new volumes. The epoch is open, the audit holds, the rows are there."""
