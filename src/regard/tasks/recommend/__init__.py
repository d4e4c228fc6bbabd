"""Recommendation: rank the items that come next in a history."""
