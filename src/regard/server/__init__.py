"""Trained runs on a server: a JSON API, a page for each, limits, batches and a clean end."""
