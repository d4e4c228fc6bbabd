"""The entry point of the command line.

Commands are parsed before torch is imported, so that ``--help`` and errors in the arguments appear quickly.
"""

from __future__ import annotations

import shlex
import sys
from io import TextIOWrapper
from typing import NoReturn

from cyclopts import CycloptsError, UnusedCliTokensError

import regard.cli.export
import regard.cli.train
import regard.cli.use  # noqa: F401 - all add their commands
from regard.cli.app import app
from regard.errors import UserError


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run a command and exit; an error that the user can mend is one line on standard error, with exit status 2."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # file names are not always UTF-8
    try:
        app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except UnusedCliTokensError as error:
        sys.exit(_print_error(_unused(error)))
    except (UserError, CycloptsError) as error:
        sys.exit(_print_error(" ".join(str(error).split())))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except UnicodeEncodeError as error:
        missing = ascii(error.object[error.start])
        sys.exit(_print_error(f"writing: the encoding {error.encoding} has no {missing}; set PYTHONIOENCODING=utf-8"))
    except OSError as error:  # a full disk, a folder without permission
        sys.exit(_print_error(f"{error.filename or 'writing'}: {error.strerror or error}"))
    sys.exit(0)


_HINTS = {
    "train": "to train on it, write --data.train {first}",
    "eval": "to score on it, write --data {first}",
    "translate": "a text of several words needs quotation marks",
    "generate": "a prompt of several words needs quotation marks",
    "look": "a text of several words needs quotation marks",
}
"""Command → a hint, for errors about one argument too many."""


def _unused(error: UnusedCliTokensError) -> str:
    """The error message about arguments that the command does not take."""
    unused, chain = list(error.unused_tokens or ()), list(error.command_chain or ())
    command = " ".join(chain)
    hint = _HINTS.get(chain[0] if chain else "", f"see regard {command} --help").format(first=shlex.quote(unused[0]))
    return f"{shlex.join(unused)}: not expected after the arguments of regard {command}; {hint}"


def _print_error(text: str) -> int:
    print(f"regard: {text}", file=sys.stderr)
    return 2
