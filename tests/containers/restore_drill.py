"""A backup is made, every container and volume is lost, and the backup is restored."""

from tests.containers.installation import Installation


def run(installation: Installation) -> None:
    """Restore into new volumes: the fills are there, an epoch is open, the audit holds."""
    machine = installation.machine
    machine.compose("up", "--detach", "--no-build")
    installation.wait_until_healthy()
    filled = installation.filled()
    machine.run("deploy/backup", "--folder", str(machine.folder / "backups"))
    [backup] = (machine.folder / "backups").iterdir()
    machine.compose("down", "--volumes", "--timeout", "30")
    machine.compose("up", "--detach", "--no-build", "postgres", "redis")
    installation.wait_until_healthy("postgres", "redis")
    printed = machine.run("deploy/restore", str(backup))
    assert "Entries are halted" in printed, printed
    installation.start()
    assert installation.filled() == filled
    status = machine.run("deploy/manage", "new_epoch", "--status", check=False)
    assert "epoch" in status.lower(), status
    machine.run("deploy/manage", "audit")
