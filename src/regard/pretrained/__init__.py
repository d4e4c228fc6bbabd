"""People's own models of Hugging Face: loaded from a folder or the hub, and looked into."""
