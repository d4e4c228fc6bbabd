"""The command line. Commands are parsed before torch is imported, so ``--help`` and typing errors answer at once."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from cyclopts import App, CycloptsError, Parameter

from regard import __version__
from regard.cli.config import file_settings, read, sections, to_yaml
from regard.errors import UserError
from regard.tasks import commands
from regard.tasks.translate.config import TranslateConfig

app = App(
    name="regard",
    help="Attention that you can look into: train a model with attention, use it, and see what it attended to.",
    help_epilogue="Begin with `regard demo translate`, or on your own text with "
    "`regard train translate --data.train FILE.tsv`.",
    version=__version__,
    help_format="markdown",
)
train_app = App(name="train", help="Train a model on your own data, or on the built-in default.")
demo_app = App(name="demo", help="Train on the built-in default, score, use and draw, in a few minutes.")
app.command(train_app)
app.command(demo_app)

Checkpoint = Literal["best", "last"]
sections(TranslateConfig)


@train_app.command(name="translate", config=file_settings(TranslateConfig))
def train_translate(
    run: Path | None = None,
    /,
    *,
    resume: bool = False,
    config: Path | None = None,
    print_config: bool = False,
    settings: Annotated[TranslateConfig | None, Parameter(name="*")] = None,
) -> None:
    """Train a translator with attention on parallel text; Ctrl-C saves, and --resume goes on exactly.

    Args:
        run: Folder for the run, new or empty; by default one under runs, named after the time.
        resume: Go on with the run in the folder, from its last checkpoint; its own settings hold.
        config: YAML file of settings; flags go before it.
        print_config: Print all settings as YAML, and stop.
    """
    from regard.train.run import fresh_name

    chosen = settings or TranslateConfig()
    problem = chosen.problem()
    if problem is not None:
        raise UserError(problem)
    if print_config:
        print(to_yaml(chosen), end="")
        return
    translate = commands("translate")
    folder = run or fresh_name("translate")
    if run is None and (resume or int(os.environ.get("WORLD_SIZE", "1")) > 1):
        whose = "of the run to go on with" if resume else "that all processes share"
        raise UserError(f"run: name the folder {whose}")
    if resume:
        if config is not None or chosen != TranslateConfig():
            raise UserError("--resume: the run's own settings hold; leave out --config and all settings")
        progress = _training(folder, lambda: translate.resume(folder, _settings))
    else:
        progress = _training(folder, lambda: translate.train(chosen, folder, to_yaml(chosen)))
    if os.environ.get("RANK", "0") != "0":
        return
    minutes = progress.seconds / 60
    print(f"trained {progress.step:,} steps in {minutes:.1f} minutes; best and last checkpoint in {folder}")
    print(f'use it:  regard translate {folder} "your text"')


@demo_app.command(name="translate")
def demo_translate(run: Path = Path("runs/demo"), /) -> None:
    """Train English to French on dates, numbers, units and names from the Unicode CLDR, and look.

    Args:
        run: Folder for the run; an earlier demo there is replaced.
    """
    import shutil
    import time

    translate = commands("translate")
    written = to_yaml(translate.demo_config())
    if (run / "config.yaml").exists() and (run / "config.yaml").read_text(encoding="utf-8") == written:
        shutil.rmtree(run)
    began = time.monotonic()
    _training(run, lambda: translate.demo(run, written))
    print(f"alignment  {run / 'alignment.png'}   (page to point at: {run / 'alignment.html'})")
    print(f"run        {run}")
    print(f"took       {time.monotonic() - began:.0f} s")
    print(f'now you:   regard look {run} "Tuesday, March 3, 2026"')


@app.command
def translate(
    run: Path,
    text: str | None = None,
    /,
    *,
    file: Path | None = None,
    beam: int = 5,
    checkpoint: Checkpoint = "best",
    look: Path | None = None,
) -> None:
    """Translate a text, a file's lines, or standard input's lines, one line each.

    Args:
        run: Folder of a trained run.
        text: The text; without it, lines are read from --file or standard input.
        file: File to translate line by line.
        beam: Hypotheses kept side by side; 1 is greedy.
        checkpoint: Which checkpoint to use.
        look: Also draw the alignment of the (one) text: a .png, .svg or .html file.
    """
    if beam < 1:
        raise UserError(f"--beam: must be at least 1, got {beam}")
    if text is not None and file is not None:
        raise UserError("--file: give a text or a file, not both")
    task = commands("translate")
    if look is not None:
        if text is None:
            raise UserError("--look: draws one text; give it after the run's folder")
        found = task.look(run, _settings, text, target=None, beam=beam, checkpoint=checkpoint)
        print(found.text)
        task.draw(found, look)
        print(f"alignment drawn in {look}", file=sys.stderr)
        return
    texts = [text] if text is not None else _lines(file)
    for found in task.translate(run, _settings, texts, beam=beam, checkpoint=checkpoint):
        print(found.text, flush=True)


@app.command(name="eval")
def evaluate(
    run: Path,
    /,
    *,
    data: str | None = None,
    beam: int = 5,
    checkpoint: Checkpoint = "best",
    on_bad_line: Annotated[
        Literal["error", "skip"] | None, Parameter(name=["--data.on-bad-line", "--on-bad-line"])
    ] = None,
    output: Path | None = None,
    json: bool = False,
) -> None:
    """Score a run on parallel text: sacreBLEU and chrF with signatures, exact match, loss.

    Args:
        run: Folder of a trained run.
        data: Parallel text in any format that training takes; without it, the built-in corpus's test split.
        beam: Hypotheses kept side by side; 1 is greedy.
        checkpoint: Which checkpoint to use.
        on_bad_line: What to do with lines that cannot be used; as in training unless given.
        output: Also write the translations, one a line, to this file.
        json: Print the scores as one JSON object.
    """
    from json import dumps

    from rich.console import Console

    if beam < 1:
        raise UserError(f"--beam: must be at least 1, got {beam}")
    task = commands("translate")
    options = {"beam": beam, "checkpoint": checkpoint, "on_bad_line": on_bad_line, "output": output}
    scores = task.evaluate(run, _settings, data, **options)
    if json:
        print(dumps({name: {"score": score, "how": how} for name, (score, how) in scores.items()}))
    else:
        task.show_scores(scores, Console())


@app.command
def look(
    run: Path,
    text: str,
    /,
    *,
    target: str | None = None,
    out: Path | None = None,
    html: Path | None = None,
    beam: int = 5,
    checkpoint: Checkpoint = "best",
) -> None:
    """Show what each word of a translation attended to: in the terminal, and as a picture or a page.

    Args:
        run: Folder of a trained run.
        text: The source text.
        target: A translation to look at instead of the model's own.
        out: Picture to draw, .png or .svg; alignment.png unless given here or as a page.
        html: Page to write, self-contained, to point at.
        beam: Hypotheses kept side by side; 1 is greedy.
        checkpoint: Which checkpoint to use.
    """
    from rich.console import Console

    if beam < 1:
        raise UserError(f"--beam: must be at least 1, got {beam}")
    if html is not None and html.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--html: expected a name that ends in .html, got {html}")
    task = commands("translate")
    found = task.look(run, _settings, text, target=target, beam=beam, checkpoint=checkpoint)
    task.show(found, Console())
    drawn = [path for path in (out, html) if path is not None] or [Path("alignment.png")]
    for path in drawn:
        task.draw(found, path)
        print(f"drawn in {path}")


@app.command
def backends(*, device: str = "cpu", dtype: Literal["float64", "float32", "bfloat16", "float16"] = "float32") -> None:
    """Show what attention runs on here: the backends, and which one typical calls go to and why.

    `regard.explain_choice(query, key, value, …)` tells the same of one call of your own.

    Args:
        device: A device of torch, such as cpu or cuda.
        dtype: Of query, key and value.
    """
    from rich.console import Console

    from regard.cli.backends import show

    try:
        show(device, dtype, Console())
    except (RuntimeError, AssertionError) as error:  # torch's own, for a device that is not there
        raise UserError(f"--device: {str(error).splitlines()[0]}") from None


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run a command; a mistake of the user's is one line on standard error, and exit status 2."""
    try:
        app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except (UserError, CycloptsError) as error:
        sys.exit(_complain(" ".join(str(error).split())))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except OSError as error:  # a full disk, a folder without permission
        sys.exit(_complain(f"{error.filename or 'writing'}: {error.strerror or error}"))
    sys.exit(0)


def _complain(text: str) -> int:
    print(f"regard: {text}", file=sys.stderr)
    return 2


def _training(folder: Path, train: Any) -> Any:
    """Run a training; when it is stopped, say how to go on."""
    from regard.train.interrupt import Interrupted

    try:
        return train()
    except Interrupted as stop:
        print(f"\nstopped after step {stop.step:,}; everything is saved", file=sys.stderr)
        print(f"go on with:  regard train translate {folder} --resume", file=sys.stderr)
        sys.exit(128 + stop.signal_number)


def _settings(run: Path) -> TranslateConfig:
    return read(run / "config.yaml", TranslateConfig)


def _lines(file: Path | None) -> list[str]:
    """The lines to translate. Raises UserError: the file is missing, or not UTF-8."""
    if file is None:
        if sys.stdin.isatty():
            print("one line each, Ctrl-D to translate:", file=sys.stderr)
        return sys.stdin.read().splitlines()
    from regard.data.lines import read_lines

    lines = list(read_lines(file))
    if None in lines:
        raise UserError(f"{file}: line {lines.index(None) + 1} is not UTF-8")
    return [line for line in lines if line is not None]
