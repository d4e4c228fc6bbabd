"""regard inside of other libraries; each is imported by name, and needs its extra."""
