"""Turn due orders into order intents: claim, evaluation, sizing and limits."""
