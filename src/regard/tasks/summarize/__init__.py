"""Summaries: from texts with short texts about them to a model that writes and copies, scores and origins of words."""
