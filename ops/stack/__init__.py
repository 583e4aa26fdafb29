"""The whole installation on one machine: its processes and their supervisor."""
