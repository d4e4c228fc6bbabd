"""Kernels: each knows a `Plan` and nothing else of the house."""
