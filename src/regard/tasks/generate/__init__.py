"""Text generation: from running text to a language model that goes on writing."""
