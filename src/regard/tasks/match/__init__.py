"""Matching images and texts: search images for a text and texts for an image, and see where each word looks."""
