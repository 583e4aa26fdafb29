"""Feeds: their terms, approval, alert addresses, and what they allow."""
