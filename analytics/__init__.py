"""Daily results and execution quality, computed set-based from orders and positions."""
