"""What all packages of the engine share: the kill switch, drift items, requests for a
reconciliation."""
