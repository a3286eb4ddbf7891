"""Memory models: what a load may return, and when a store is seen by whom. ``coherent`` needs no code."""

MEMORY_MODELS = ("coherent", "caches")
