"""Retrieval, ranking, evaluation and the model bundle. Knows nothing of flows, services or the store."""
