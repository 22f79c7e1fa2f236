"""Model bundles, MLflow tracking and the champion."""
