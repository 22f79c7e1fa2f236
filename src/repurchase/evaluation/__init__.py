"""JUDGE: out-of-time backtests, metrics and a grade in words."""
