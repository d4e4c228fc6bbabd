"""Sequence-to-sequence tasks: from a text, or another sequence, to a text."""
