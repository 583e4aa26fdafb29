"""How positions end: levels and who guards them, what exits reserve, and what people wish."""
