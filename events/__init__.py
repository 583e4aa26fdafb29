"""What happened, told outward: the transactional outbox, notifications, deliveries."""
