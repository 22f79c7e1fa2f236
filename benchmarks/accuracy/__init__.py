"""Accuracy beside the peers: same logs, same customers, same cut-offs, out of time.

``python -m benchmarks.accuracy`` from the checkout's root; ``--help`` lists the choices.
"""
