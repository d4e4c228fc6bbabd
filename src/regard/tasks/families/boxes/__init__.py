"""Boxes: tasks whose result is a set of objects in an image."""
