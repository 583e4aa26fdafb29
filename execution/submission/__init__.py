"""From due rows to order intents: the claim with its decisions, sizes and limits."""
