"""Text generation: trains a language model on plain text, and continues prompts with it."""
