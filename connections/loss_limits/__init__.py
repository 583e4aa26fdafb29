"""Loss limits: what they measure, the pauses they cause, and how those end."""
