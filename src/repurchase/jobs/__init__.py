"""RUN: the jobs that people and schedulers start."""
