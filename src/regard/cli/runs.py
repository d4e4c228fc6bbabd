"""The commands that every run has: ``regard eval`` and ``regard look``. Their options depend on the run's task."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cyclopts import App

from regard.cli.looked import Looked
from regard.cli.options import Checkpoint, Weights, with_options
from regard.errors import UserError
from regard.files import is_page
from regard.tasks.spec import NoOptions, TaskSpec

_MORE = "This command has more options, which depend on the run: `regard {} RUN --help` shows them."

_LOOK = """Examples:

- `regard look runs/mine "Where is the station?"`: a run; `regard look RUN --help` shows the options of its task.
- `regard look hf:FOLDER "The cats sleep." --layer 5 --head 0`: a model of Hugging Face, in a folder or by its name on
  the hub; `regard look hf: --help` shows the options.
- `regard look hf:FOLDER photo.jpg --out where.png --save all.safetensors`: a model of images; `regard.views.load` reads
  the file of all layers and heads.
- `regard look hf:FOLDER "The cats sleep." --html cats.html`: one interactive page of all layers and heads, which needs
  no network; with `--layer 5 --head 0`, of this head.
- `regard look runs/mine "Where is the station?" --html both.html --beside runs/other`: two runs in one page, and how
  their weights differ.
"""


def add_commands(app: App, spec: TaskSpec | None, looked: Looked) -> None:
    """Add both commands, with the options of the task ``spec`` of the run on the command line, if there is one.

    ``looked`` is what ``look`` looks into.
    """
    app.command(name="eval", help_epilogue=None if spec else _MORE.format("eval"))(_evaluate_command(spec))
    app.command(name="look", help_epilogue=None if spec else _LOOK)(_look_command(looked))


def _evaluate_command(spec: TaskSpec | None) -> Callable[..., None]:
    packs = spec is not None and spec.verb.packs

    def evaluate(
        run: Path,
        /,
        *,
        data: str | None = None,
        checkpoint: Checkpoint = "best",
        weights: Weights = "float32",
        json: bool = False,
        **options: Any,
    ) -> None:
        from json import dumps

        from rich.console import Console

        from regard.tasks import running
        from regard.tasks.results import show_scores

        scores = running.evaluate(run, data, checkpoint=checkpoint, weights=weights if packs else None, **options)
        if json:
            print(dumps({name: score.to_dict() for name, score in scores.items()}))
        else:
            show_scores(scores, Console())

    own = f"by default {spec.evaluated}" if spec else "by default held-out data of the run, if it has any"
    evaluate.__doc__ = f"""Evaluate a trained model: print its scores, and how each is computed.

    Args:
        run: Folder of a trained run.
        data: Data to evaluate on, in any format that training reads; {own}.
        checkpoint: Checkpoint to use: the one with the best validation metric, or the last one.
        weights: How the model's weights are stored on a CPU: with bfloat16 or int8, a half or a quarter of the bytes is
            read at each step, and outputs differ a little.
        json: Print the scores as one JSON object.
    """
    without = () if packs else ("weights",)
    if spec is None:
        return with_options(evaluate, NoOptions, without=without)
    return with_options(evaluate, spec.evaluation, section=type(spec.settings().data), without=without)


def _look_command(looked: Looked) -> Callable[..., None]:
    def look(
        run: Path,
        item: str,
        /,
        *,
        out: Path | None = None,
        html: Path | None = None,
        beside: Path | None = None,
        save: Path | None = None,
        json: bool = False,
        checkpoint: Checkpoint = "best",
        **options: Any,
    ) -> None:
        from json import dumps

        from rich.console import Console

        if beside is not None and html is None:
            raise UserError("--beside: is for a page; name it with --html")
        if html is not None and not is_page(html):
            raise UserError(f"--html: expected a name that ends in .html, got {html}")
        shown = looked.load(run, checkpoint).look(item, **options)
        both = {str(run): shown}
        if beside is not None:
            name, other = _beside(run, checkpoint, beside, looked)
            both[name] = other.look(item, **options)
        if json:
            print(dumps(shown.to_dict(attention=True), ensure_ascii=False))
        else:
            shown.show(Console())
        if html is not None and beside is not None:
            _save_both(both, html)
        elif html is not None:
            shown.save(html)
        drawn = out or (None if json or html is not None else _unused_name("alignment.png"))
        if drawn is not None:
            shown.save(drawn)
        for path in (drawn, html):
            if path is not None:
                print(f"drawn in {path}", file=sys.stderr if json else sys.stdout)
        if save is not None:
            shown.view.save(save, inputs=True)
            print(f"saved in {save}", file=sys.stderr if json else sys.stdout)

    look.__doc__ = f"""Show the attention weights of a model for one input: print them, and draw them to a file.

    Args:
        run: Folder of a trained run, or "hf:" and the folder or hub name of a model of Hugging Face.
        item: {looked.item}
        out: Image file to draw, .png or .svg; by default alignment.png, or alignment-2.png and so on if it exists.
        html: Interactive page to write, a single .html file.
        beside: Another run or model, whose attention to the same input is in the page, too, with the differences of
            weights where both have as many queries and keys. The run itself: its other checkpoint.
        save: File for all layers and heads, which regard.views.load reads: statistics, maps, queries and keys.
        json: Print the attention as one JSON object; files are drawn only if they are named.
        checkpoint: Checkpoint to use: the one with the best validation metric, or the last one.
    """
    return with_options(look, looked.options, without=looked.without)


def _beside(run: Path, checkpoint: Checkpoint, beside: Path, looked: Looked) -> tuple[str, Any]:
    """Another run or model, by a name for the page; of the same run, its other checkpoint.

    Raises:
        UserError: it is of another task, or the same model of Hugging Face.
    """
    from regard.training.run import kind

    if "checkpoint" in looked.without:
        if beside == run:
            raise UserError(f"--beside: {run} is the same model; name another one")
    elif kind(beside) != kind(run):
        raise UserError(f"--beside: {beside} is of the task {kind(beside)}, and {run} of {kind(run)}")
    elif beside == run:
        other: Checkpoint = "last" if checkpoint == "best" else "best"
        return f"{run}, {other} checkpoint", looked.load(run, other)
    return str(beside), looked.load(beside, checkpoint)


def _save_both(shown: dict[str, Any], path: Path) -> None:
    """Write a page of several runs by name."""
    from rich.console import Console

    from regard.explain.documents import joined
    from regard.viewer.page import write_page

    with Console(stderr=True).status(f"writing {path}"):  # on a terminal only
        documents = {name: one.document() for name, one in shown.items()}
        write_page(joined(next(iter(documents.values())).title, documents), path)


def _unused_name(name: str) -> Path:
    """``name`` in the current folder, with the first number appended that makes it a new file if it exists."""
    path, number = Path(name), 1
    while path.exists():
        number += 1
        path = Path(f"{Path(name).stem}-{number}{Path(name).suffix}")
    return path
