"""What tasks with the same kind of input share, such as images: their settings, and what a model needs of them."""
