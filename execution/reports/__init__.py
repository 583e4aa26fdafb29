"""Execution reports and what they change; `apply.apply_reports` is the only entry point."""
