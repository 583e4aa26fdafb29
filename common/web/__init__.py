"""What pages, forms and the API share: base classes, lists, idempotency, quotas, texts."""
