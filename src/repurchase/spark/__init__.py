"""The heavy part of scoring and training on a Spark cluster."""
