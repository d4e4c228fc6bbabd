"""What one does with a trained run: translate, generate, eval, look; and ``regard backends``."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from regard.cli.app import Checkpoint, app, at_least, given, settings_of
from regard.data.lines import check_unicode, one_line, read_text_lines
from regard.errors import UserError
from regard.files import is_stream
from regard.tasks import commands


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
    output: Path | None = None,
) -> None:
    """Translate a text, a file's lines, or standard input's lines, one line each.

    Args:
        run: Folder of a trained run.
        text: The text; without it, lines are read from --file or standard input.
        file: File to translate line by line.
        beam: Hypotheses kept side by side; 1 is greedy.
        checkpoint: Which checkpoint to use.
        look: Also draw the alignment of the (one) text: a .png, .svg or .html file.
        output: Write the translations to this file as they are made, instead of standard output. A translation that
            holds a line break is written with a space for it, so that there are as many lines as in the input.
    """
    check_unicode("text", text)
    at_least("beam", beam, 1)
    if text is not None and file is not None:
        raise UserError("--file: give a text or a file, not both")
    task = commands("translate")
    if look is not None:
        if text is None:
            raise UserError("--look: draws one text; give it after the run's folder")
        found = task.look(run, settings_of("translate"), text, target=None, beam=beam, checkpoint=checkpoint)
        _write_lines([found.text], output)
        task.draw(found, look)
        print(f"alignment drawn in {look}", file=sys.stderr)
        return
    texts = [text] if text is not None else _lines(file)
    results = task.translate(run, settings_of("translate"), texts, beam=beam, checkpoint=checkpoint)
    _write_lines((result.text for result in results), output)


@app.command
def generate(
    run: Path,
    prompt: str = "",
    /,
    *,
    tokens: int = 200,
    temperature: float = 0.8,
    top_k: int | None = None,
    top_p: float | None = None,
    penalty: float = 1.0,
    stop: tuple[str, ...] = (),
    seed: int | None = None,
    checkpoint: Checkpoint = "best",
) -> None:
    """Go on with a text, token by token as they are drawn.

    Args:
        run: Folder of a trained language model.
        prompt: The text to go on with; without it, a new document.
        tokens: Most tokens to write.
        temperature: Below 1 likelier tokens gain, above 1 they lose; 0 always takes the likeliest.
        top_k: Draw from this many of the likeliest tokens.
        top_p: Draw from the fewest tokens that together have this probability.
        penalty: Above 1, tokens that were there already become less likely.
        stop: A text to end before; may be given several times.
        seed: The same seed writes the same text.
        checkpoint: Which checkpoint to use.
    """
    at_least("tokens", tokens, 1)
    at_least("temperature", temperature, 0)
    at_least("top-k", top_k, 1)
    if top_p is not None and not 0 < top_p <= 1:
        raise UserError(f"--top-p: must be above 0 and at most 1, got {top_p}")
    if penalty <= 0:
        raise UserError(f"--penalty: must be above 0, got {penalty}")
    if "" in stop:
        raise UserError("--stop: got an empty text, which would end at once")
    check_unicode("prompt", prompt)
    check_unicode("--stop", *stop)
    from regard.tasks.generate.model import Sampling

    how = Sampling(temperature, top_k, top_p, penalty, seed)
    task, options = commands("generate"), {"tokens": tokens, "stop": stop, "checkpoint": checkpoint}
    pieces = task.generate(run, settings_of("generate"), prompt, how, **options)
    print(prompt, end="", flush=True)
    for piece in pieces:
        print(piece, end="", flush=True)
    print()


@app.command
def classify(
    run: Path,
    images: Annotated[tuple[Path, ...], Parameter(negative=())],
    /,
    *,
    top: int = 3,
    checkpoint: Checkpoint = "best",
    look: Path | None = None,
) -> None:
    """Name what is in each image, with probabilities. A file that cannot be read is named on standard error, the others
    are classified, and the exit status is 1.

    Args:
        run: Folder of a trained classifier.
        images: Image files, of any size, in colour, grey or with transparency.
        top: How many classes to print for each.
        checkpoint: Which checkpoint to use.
        look: Also draw where the model looked in the (one) image: a .png or .svg file.
    """
    at_least("top", top, 1)
    if look is not None and len(images) != 1:
        raise UserError(f"--look: draws one image, got {len(images)}")
    task, failed = commands("image"), False
    for result in task.classify(run, settings_of("image"), images, checkpoint=checkpoint):
        if isinstance(result, UserError):
            print(f"regard: {result}", file=sys.stderr)
            failed = True
            continue
        likeliest = "\t".join(f"{name} {chance:.4f}" for name, chance in result.classes[:top])
        print(f"{result.path}\t{likeliest}", flush=True)
        if look is not None:
            task.draw(result, look)
            print(f"drawn in {look}", file=sys.stderr)
    if failed:
        sys.exit(1)


@app.command(name="eval")
def evaluate(
    run: Path,
    /,
    *,
    data: str | None = None,
    beam: int | None = None,
    checkpoint: Checkpoint = "best",
    on_bad_line: Annotated[
        Literal["error", "skip"] | None, Parameter(name=["--data.on-bad-line", "--on-bad-line"])
    ] = None,
    on_bad: Annotated[Literal["error", "skip"] | None, Parameter(name=["--data.on-bad", "--on-bad"])] = None,
    image_column: Annotated[str | None, Parameter(name=["--data.image-column", "--image-column"])] = None,
    label_column: Annotated[str | None, Parameter(name=["--data.label-column", "--label-column"])] = None,
    output: Path | None = None,
    tokenize: str | None = None,
    json: bool = False,
) -> None:
    """Score a run: a translator by sacreBLEU and chrF with signatures, exact match and loss, a language model by
    perplexity and bits per byte, a classifier by accuracy.

    Args:
        run: Folder of a trained run.
        data: What to score on, in any format that training takes; without it, the built-in corpus's test split, or a
            language model's own validation text.
        beam: Of a translator: hypotheses kept side by side, 5 unless given; 1 is greedy.
        checkpoint: Which checkpoint to use.
        on_bad_line: Of a translator: what to do with lines that cannot be used; as in training unless given.
        on_bad: Of a classifier: what to do with images that cannot be used; as in training unless given.
        image_column: Of a classifier: the column of a table with the image; as in training unless given.
        label_column: Of a classifier: the column of a table with the class; as in training unless given.
        output: Of a translator: also write the translations, one a line, to this file.
        tokenize: Of a translator: sacreBLEU's tokenizer for BLEU, such as 13a, intl, zh, ja-mecab, ko-mecab or
            flores200; unless given, zh or char where the references have no spaces between words, else 13a.
        json: Print the scores as one JSON object.
    """
    from json import dumps

    from rich.console import Console

    from regard.train.run import check, kind

    at_least("beam", beam, 1)
    check(run)
    name = kind(run)
    task = commands(name)
    every: dict[str, Any] = {"beam": beam, "on_bad_line": on_bad_line, "output": output, "tokenize": tokenize}
    every |= {"on_bad": on_bad, "image_column": image_column, "label_column": label_column}
    options = given(every, task.EVALUATE_OPTIONS, name)
    scores = task.evaluate(run, settings_of(name), data, checkpoint=checkpoint, **options)
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
    beam: int | None = None,
    layer: int | None = None,
    head: int | None = None,
    checkpoint: Checkpoint = "best",
) -> None:
    """Show what each word of a translation attended to, or each token of a text in a language model, or where a
    classifier looked: in the terminal, and as a picture or a page.

    Args:
        run: Folder of a trained run.
        text: The source text, the text that a language model reads, or a classifier's picture file.
        target: Of a translator: a translation to look at instead of the model's own.
        out: Picture to draw, .png or .svg; by default, and without --html, alignment.png, or alignment-2.png if there
            is one already.
        html: Page to write, self-contained, to point at; not of a classifier.
        beam: Of a translator: hypotheses kept side by side, 5 unless given; 1 is greedy.
        layer: Of a language model: its layer, from 0; the last unless given.
        head: Of a language model: its head, from 0; the mean of all unless given.
        checkpoint: Which checkpoint to use.
    """
    from rich.console import Console

    from regard.train.run import check, kind

    at_least("beam", beam, 1)
    if html is not None and html.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--html: expected a name that ends in .html, got {html}")
    check_unicode("--target", target)
    check(run)
    name = kind(run)
    task = commands(name)
    options = given(
        {"target": target, "beam": beam, "layer": layer, "head": head, "html": html}, task.LOOK_OPTIONS, name
    )
    options.pop("html", None)  # this function's own
    found = task.look(run, settings_of(name), text, checkpoint=checkpoint, **options)
    task.show(found, Console())
    drawn = [path for path in (out, html) if path is not None] or [_free("alignment.png")]
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


def _free(name: str) -> Path:
    """A file of that name in the current folder, or with a number behind it that no file has."""
    path, number = Path(name), 1
    while path.exists():
        number += 1
        path = Path(f"{Path(name).stem}-{number}{Path(name).suffix}")
    return path


def _lines(file: Path | None) -> list[str]:
    """The lines to translate. Raises UserError: the file is missing, or not UTF-8."""
    if file is None and sys.stdin.isatty():
        print("one line each, Ctrl-D to translate:", file=sys.stderr)
    return read_text_lines(file)


def _write_lines(texts: Iterable[str], output: Path | None) -> None:
    """Write each text as one line, as soon as it is there. Raises UserError: the file cannot be opened."""
    try:
        # Opened in place, so that each translation can be read as soon as it is made. Of a file that is open already,
        # such as /dev/stdout, the content is kept.
        mode = "a" if output is not None and is_stream(output) else "w"
        file = nullcontext(sys.stdout) if output is None else output.open(mode, encoding="utf-8", newline="\n")
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror})") from error
    with file as stream:
        for text in texts:
            print(one_line(text), file=stream, flush=True)
