"""From due rows to intents on disk: the claim, with its decisions, sizes and limits."""
