"""The viewer in the browser: one module of JavaScript, for a page, a notebook and a server."""
