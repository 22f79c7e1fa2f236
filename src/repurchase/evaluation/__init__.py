"""Evaluation: backtest, metrics, comparison with rules, grade, drift and realised outcomes."""
