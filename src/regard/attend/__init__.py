"""The function for every attention mechanism, and the classes that describe a mechanism.

The public names of the modules of mechanisms are in their ``__all__``. This module has no ``__all__``: type checkers
regard every name that is imported here by ``*`` or ``as`` as public, and cannot add up lists of other modules.
"""

from regard.attend.attention import attention as attention
from regard.attend.biases import *  # noqa: F403 - the names of its __all__
from regard.attend.choice import Choice as Choice
from regard.attend.choice import explain_choice as explain_choice
from regard.attend.look import Look as Look
from regard.attend.masks import *  # noqa: F403 - the names of its __all__
from regard.attend.normalizers import *  # noqa: F403 - the names of its __all__
from regard.attend.results import Norms as Norms
from regard.attend.results import Pooled as Pooled
from regard.attend.results import Sinks as Sinks
from regard.attend.results import Top as Top
from regard.attend.scores import *  # noqa: F403 - the names of its __all__
from regard.attend.view import View as View
from regard.attend.visible import Boolean as Boolean
from regard.attend.visible import Mask as Mask
from regard.kernels.backends import use_backend as use_backend
