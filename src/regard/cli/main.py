"""The entry point of the command line.

Commands are parsed before torch is imported, so that ``--help`` and errors in the arguments appear quickly.
"""

from __future__ import annotations

import shlex
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import NoReturn

from cyclopts import CycloptsError, UnusedCliTokensError

from regard.cli.app import build, task_of
from regard.cli.looked import is_pretrained
from regard.errors import UserError


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run a command and exit; an error that the user can mend is one line on standard error, with exit status 2."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # file names are not always UTF-8
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        build(task_of(arguments), arguments)(
            arguments, exit_on_error=False, print_error=False, result_action="return_value"
        )
    except UnusedCliTokensError as error:
        sys.exit(_print_error(_unused(error)))
    except (UserError, CycloptsError) as error:
        sys.exit(_print_error(" ".join((_without_run(arguments) or str(error)).split())))
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
    "look": "a text of several words needs quotation marks",
}
"""Command → a hint, for errors about one argument too many."""


def _without_run(arguments: list[str]) -> str | None:
    """The error message if a command whose options depend on a run does not name one; it explains other errors."""
    named = len(arguments) > 1 and not arguments[1].startswith("-")
    if arguments[:1] not in (["eval"], ["look"]) or not named or task_of(arguments) is not None:
        return None
    if is_pretrained(arguments):
        return None
    from regard.training.run import check

    try:
        check(Path(arguments[1]))
    except UserError as error:
        return str(error)
    return None


def _unused(error: UnusedCliTokensError) -> str:
    """The error message about arguments that the command does not take."""
    unused, chain = list(error.unused_tokens or ()), list(error.command_chain or ())
    command = " ".join(chain)
    hint = _HINTS.get(chain[0] if chain else "", f"see regard {command} --help").format(first=shlex.quote(unused[0]))
    return f"{shlex.join(unused)}: not expected after the arguments of regard {command}; {hint}"


def _print_error(text: str) -> int:
    print(f"regard: {text}", file=sys.stderr)
    return 2
