"""Models: from features to probabilities, expected orders and spend, lifetime value, segments and reasons."""
