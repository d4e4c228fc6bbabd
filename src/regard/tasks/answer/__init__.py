"""Question answering: find the answer to a question as a span of a context, or that it has none."""
