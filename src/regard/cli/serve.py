"""``regard serve``: trained runs on a server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from regard.cli.options import Checkpoint
from regard.errors import UserError
from regard.server.limits import Limits

_EXAMPLES = """Examples:

- `regard serve runs/mine`: a page and an API at http://127.0.0.1:8000, for this machine only.
- `regard serve view.safetensors`: the attention of a model of Hugging Face, saved with `regard look hf:… --save`.
- `regard serve runs/a runs/b --port 9000 --checkpoint last`: two runs.
- `REGARD_TOKEN=$(openssl rand -hex 16) regard serve runs/mine --host 0.0.0.0 --name example.org`: for others, who need
  the token.
- `curl 127.0.0.1:8000/api/runs/mine/predict --json '{"input": "Where is the station?"}'`
- `curl '127.0.0.1:8000/api/runs/digits/predict?top=3' -H Content-Type: --data-binary @digit.png`
"""


def add_command(app: App) -> None:
    """Add ``regard serve``."""
    app.command(_serve, name="serve", help_epilogue=_EXAMPLES)


def _serve(
    runs: Annotated[tuple[Path, ...], Parameter(negative=())],
    /,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    name: Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)] = (),
    token: str | None = None,
    checkpoint: Checkpoint = "best",
    megabytes: float = Limits.megabytes,
    characters: int = Limits.characters,
    seconds: float = Limits.seconds,
    waiting: int = Limits.waiting,
    batch: int = Limits.batch,
    delay: float = Limits.delay,
) -> None:
    """Serve trained runs and saved views.

    Each run has a page, where you type or drop an input and see what the model attends to, and a JSON API, which
    /openapi.json describes. A saved view is shown by the viewer, whose tiles are computed here.

    The server ends by Ctrl-C or SIGTERM, after it has answered what it accepted.

    Args:
        runs: Folders of trained runs, or files of views that `regard look hf:… --save` wrote.
        host: Address to listen at. Other machines reach 0.0.0.0, which needs a token.
        port: Port to listen at; 0: any that is free.
        name: Name of the server in addresses, besides localhost and IP addresses; may be repeated.
        token: Word that requests need, as "Authorization: Bearer TOKEN"; by default the environment variable
            REGARD_TOKEN, which other users of this machine cannot see.
        checkpoint: Checkpoint to use: the one with the best validation metric, or the last one.
        megabytes: Largest body of a request.
        characters: Longest text.
        seconds: Longest time for a body to arrive, and again for its result.
        waiting: Largest number of requests that wait; with more, a request is refused and told when to come again.
        batch: Largest number of requests that are computed together.
        delay: Seconds that the first request of a batch waits for others.
    """
    limits = Limits(megabytes, characters, seconds, waiting, batch, delay)
    if (problem := limits.problem()) is not None:
        raise UserError(problem)
    token = token or os.environ.get("REGARD_TOKEN") or None

    from regard.server.running import check_host, serve

    check_host(host, token)
    serve(runs, checkpoint, limits, host=host, port=port, names=name, token=token)
