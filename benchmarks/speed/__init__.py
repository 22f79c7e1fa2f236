"""Speed and memory beside lifetimes: generated orders with known parameters, whole processes timed from outside.

``python -m benchmarks.speed`` from the checkout's root; ``--help`` lists the choices.
"""
