"""What a feed's last signals would have done on an account. ADR 0042, docs/preflight.md."""
