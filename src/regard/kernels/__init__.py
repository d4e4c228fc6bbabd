"""Kernels and backends. They depend on the `Plan` of a call and on no other part of regard."""
