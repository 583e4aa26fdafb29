"""The operators' console: pages that see several rooms at once, in unfold's shell."""
