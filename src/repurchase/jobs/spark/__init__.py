"""The jobs' heavy part on a Spark cluster."""
