"""Spans: tasks whose result is a part of a text, or that it has none."""
