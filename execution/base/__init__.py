"""What all packages of the engine share: kill switch, drift items, reconciliation requests."""
