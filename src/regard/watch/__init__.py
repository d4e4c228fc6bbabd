"""Looks into any module: the views of all attentions that it computes."""

from regard.watch.looking import Seen, looking

__all__ = ["Seen", "looking"]
