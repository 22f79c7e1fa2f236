"""LEARN: from features to probabilities, spend and lifetime value."""
