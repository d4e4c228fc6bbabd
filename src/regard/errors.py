"""The errors that the command line shows as one line, without a traceback."""

from __future__ import annotations

import importlib
from types import ModuleType


class UserError(Exception):
    """A mistake that the user can correct. Its text says what was given, what was expected and what would work."""


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Import an optional module, or raise an error that says how to install it.

    Args:
        module: the module's import name, for example ``"matplotlib"``.
        extra: the extra of this package that installs it, for example ``"plot"``.
        purpose: what needs it, the subject of the error's sentence.

    Raises:
        UserError: the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and not module.startswith(error.name):
            raise
        raise UserError(f"{purpose} needs {module}: pip install 'regard[{extra}]'") from error
