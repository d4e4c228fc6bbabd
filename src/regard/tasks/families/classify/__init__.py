"""Classification: tasks whose result is the class of an input, with its probability."""
