"""Ask decision providers about entries, outside of any transaction; docs/decision-step.md."""
