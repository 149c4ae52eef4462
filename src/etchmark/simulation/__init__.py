"""Microstructures and the physics on them; knows nothing of datasets, benchmarks or models."""
