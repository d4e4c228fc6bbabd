"""The one function for every attention mechanism, and the values that describe a mechanism.

The public names of a module of mechanisms are those of its ``__all__``.
"""

from regard.attend import biases, masks, normalizers, scores
from regard.attend.attention import attention
from regard.attend.biases import *  # noqa: F403 - the names of its __all__
from regard.attend.choice import Choice, explain_choice
from regard.attend.look import Look, Norms, Pooled, Top, View
from regard.attend.masks import *  # noqa: F403 - the names of its __all__
from regard.attend.normalizers import *  # noqa: F403 - the names of its __all__
from regard.attend.scores import *  # noqa: F403 - the names of its __all__
from regard.attend.visible import Boolean, Mask
from regard.kernels.backends import use_backend

__all__ = [
    "Boolean",
    "Choice",
    "Look",
    "Mask",
    "Norms",
    "Pooled",
    "Top",
    "View",
    "attention",
    "explain_choice",
    "use_backend",
]
__all__ += scores.__all__
__all__ += biases.__all__
__all__ += masks.__all__
__all__ += normalizers.__all__
