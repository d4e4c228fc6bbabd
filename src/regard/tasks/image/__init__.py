"""Image classification: from pictures in folders to a model that names what it sees, and shows where it looked."""
