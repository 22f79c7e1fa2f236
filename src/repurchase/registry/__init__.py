"""KEEP: model bundles, MLflow, and which version is champion."""
