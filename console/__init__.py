"""The operators' console: admin pages that read several apps at once."""
