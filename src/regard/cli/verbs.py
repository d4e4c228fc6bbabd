"""The commands that use a trained model: ``regard translate``, ``regard generate``, ``regard classify`` and others."""

from __future__ import annotations

import dataclasses
import json as json_lines
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from regard.cli.options import Checkpoint, Weights, with_options
from regard.data.lines import check_unicode, iterate_text_lines
from regard.errors import UserError
from regard.files import is_stream, write_text
from regard.tasks import table
from regard.tasks.results import Failure
from regard.tasks.spec import NoOptions, TaskSpec, Verb


def add_commands(app: App, run_task: TaskSpec | None) -> None:
    """Add the verb of each task; ``run_task``, if not None, is the task of the run on the command line."""
    by_verb: dict[str, list[TaskSpec]] = {}
    for spec in table.TASKS:
        by_verb.setdefault(spec.verb.name, []).append(spec)
    for name, specs in by_verb.items():
        chosen = run_task if run_task in specs else specs[0]
        assert chosen is not None
        app.command(name=name)(_command(chosen, shared=len(specs) > 1 and run_task not in specs))


def _command(spec: TaskSpec, *, shared: bool) -> Callable[..., None]:
    """The command of a task's verb; with ``shared``, without the options that depend on the task."""
    verb = spec.verb

    def use(
        run: Path,
        inputs: Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)] = (),
        /,
        *,
        file: Path | None = None,
        output: Path | None = None,
        json: bool = False,
        look: Path | None = None,
        checkpoint: Checkpoint = "best",
        weights: Weights = "float32",
        **options: Any,
    ) -> None:
        _use(spec, run, inputs, file, output, json, look, checkpoint, weights, options)

    use.__doc__ = f"""{verb.summary}.

    Without an argument and without --file, standard input is read. There is one {verb.unit} per line, and one line of
    output for each, in the same order, as soon as it is known. If one cannot be used, an error is printed for it, its
    line of output is empty, the others are used all the same, and the exit status is 1.

    Args:
        run: Folder of a trained run.
        inputs: {verb.input}
        file: File with one {verb.unit} per line, in UTF-8, plain or .gz/.xz.
        output: File to write to instead of standard output.
        json: Print one JSON object per line.
        look: Also draw the attention to this file, .png, .svg or .html; only for a single {verb.unit}.
        checkpoint: Checkpoint to use: the one with the best validation metric, or the last one.
        weights: How the model's weights are stored on a CPU: with bfloat16 or int8, a half or a quarter of the bytes is
            read at each step, and outputs differ a little.
    """
    without = (*(() if verb.draws else ("look",)), *(() if verb.packs else ("weights",)))
    return with_options(use, NoOptions if shared else verb.options, without=without)


def _use(
    spec: TaskSpec,
    run: Path,
    inputs: tuple[str, ...],
    file: Path | None,
    output: Path | None,
    json: bool,
    look: Path | None,
    checkpoint: str,
    weights: Weights,
    options: dict[str, Any],
) -> None:
    verb = spec.verb
    named = options.pop(verb.named_input, None)
    if named is not None:
        if inputs or file is not None:
            raise UserError(f"--{verb.named_input}: is the {verb.unit}; give no other one with it")
        inputs = (named,)
    many = verb.many or any(options.get(name) is not None for name in verb.many_with)
    check_unicode(verb.unit, *(() if many else inputs))  # several inputs are names of files, in any encoding
    if inputs and file is not None:
        raise UserError(f"--file: give {_article(verb.unit)} or a file, not both")
    if len(inputs) > 1 and not many:
        extra = f"{shlex.join(inputs[1:])}: not expected after the arguments of regard {verb.name}"
        raise UserError(f"{extra}; {_article(verb.unit)} of several words needs quotation marks")
    if look is not None and len(inputs) != 1:
        raise UserError(f"--look: draws a single {verb.unit}, got {len(inputs)}; name one after the run's folder")

    files = list[Path]()
    if look is None and not json and (ending := _ending(verb, options)):
        inputs = inputs or tuple(_lines(file, verb.unit))
        files = _own_files(verb, inputs, ending, output)

    from regard.tasks.running import load

    predictor = load(run, checkpoint, spec.name, weights if verb.packs and look is None else None)
    if look is not None:
        common = {
            field.name: options[field.name] for field in dataclasses.fields(spec.looking) if field.name in options
        }
        shown = predictor.look(inputs[0], **common)
        _write([shown], output, json=json)
        shown.save(look)
        print(f"drawn in {look}", file=sys.stderr)
        return
    stream = getattr(predictor, "stream", None)
    if stream is not None and len(inputs) == 1 and not json and output is None:
        for piece in stream(inputs[0], **options):
            print(piece, end="", flush=True)
        print()
        return
    if files:
        sys.exit(int(_write_each(predictor.predict(inputs, **options), files)))
    results = predictor.predict(inputs or _lines(file, verb.unit), **options)
    if _write(results, output, json=json, aligned=not inputs):
        sys.exit(1)


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _lines(file: Path | None, unit: str) -> Iterator[str]:
    """The lines of a file or of standard input. Raises UserError: the file is missing, or a line is not UTF-8."""
    if file is None and sys.stdin.isatty():
        print(f"type one {unit} per line, then Ctrl-D:", file=sys.stderr)
    return iterate_text_lines(file)


def _ending(verb: Verb, options: dict[str, Any]) -> str:
    """The ending of a file that can have the output of a single input only; empty: the outputs are lines."""
    own = next((field for field in dataclasses.fields(verb.options) if field.name == verb.file_form), None)
    given = None if own is None else options.get(own.name, own.default)
    return "" if own is None or given == own.default else str(given)


def _own_files(verb: Verb, inputs: Sequence[str], ending: str, output: Path | None) -> list[Path]:
    """The file for the output of each input in the folder ``output``, which is made; a single input needs none.

    Raises:
        UserError: there are several inputs and no folder, or two of them have the same file.
    """
    folder = output is not None and output.is_dir()
    if len(inputs) < 2 and not folder:
        return []
    if output is None or (not folder and (output.exists() or output.suffix)):
        got = "" if output is None else f", got {output}"
        raise UserError(
            f"--output: name a folder{got}; with --{verb.file_form} {ending}, {len(inputs)} {verb.unit}s get a "
            f".{ending} file each"
        )
    files: dict[Path, str] = {}
    for one in inputs:
        place = output / f"{Path(one).stem}.{ending}"
        if place in files:
            raise UserError(
                f"{one}: its output and that of {files[place]} would both be {place}; give them one after the other"
            )
        files[place] = one
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{output}: cannot be made ({error.strerror})") from error
    return list(files)


def _write_each(results: Iterable[Any], files: Sequence[Path]) -> bool:
    """Write each result to its file; returns whether there are failures. Raises UserError: one cannot be written."""
    failed = False
    for result, file in zip(results, files, strict=True):
        if isinstance(result, Failure):
            failed = True
            print(f"regard: {result.error}", file=sys.stderr)
            continue
        write_text(file, result.line() + "\n")
        print(f"written to {file}", file=sys.stderr)
    return failed


def _write(results: Iterable[Any], output: Path | None, *, json: bool, aligned: bool = True) -> bool:
    """Write one line for each result as soon as it is known; returns whether there are failures.

    With ``aligned``, a failure too has a line, so that the output has as many lines as the input.

    Raises:
        UserError: the file cannot be opened.
    """
    try:
        # Written in place rather than renamed at the end, so that each result can be read as soon as it is made.
        # A file that is already open, such as /dev/stdout, is appended to, so that its content is kept.
        mode = "a" if output is not None and is_stream(output) else "w"
        file = nullcontext(sys.stdout) if output is None else output.open(mode, encoding="utf-8", newline="\n")
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror})") from error
    failed = False
    with file as stream:
        for result in results:
            if isinstance(result, Failure):
                failed = True
                print(f"regard: {result.error}", file=sys.stderr)
                if not aligned and not json:
                    continue
            text = json_lines.dumps(result.to_dict(), ensure_ascii=False) if json else result.line()
            print(text, file=stream, flush=True)
    return failed
