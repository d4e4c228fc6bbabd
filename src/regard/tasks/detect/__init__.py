"""Detection: boxes and classes of the objects of an image."""
