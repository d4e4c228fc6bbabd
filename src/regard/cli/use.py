"""The commands that use a trained run: translate, generate, classify, eval and look; and ``regard backends``."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from regard.cli.app import Checkpoint, app, at_least, given_options, settings_of
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
    """Translate one text, or each line of a file or of standard input.

    Args:
        run: Folder of a trained translator.
        text: Text to translate; without it, the lines of --file or of standard input are translated.
        file: Text file to translate line by line, in UTF-8, plain or .gz/.xz.
        beam: Beam size: how many candidate translations the beam search keeps at each step. A larger beam is slower
            and often slightly better; 1 is greedy decoding.
        checkpoint: Checkpoint to use: the one with the best validation metric, or the last one.
        look: Also draw the alignment to this file, .png, .svg or .html; only for a single text.
        output: File to write the translations to, one per line, as they are made; by default standard output. Line
            breaks within a translation become spaces, so there are as many lines as in the input.
    """
    check_unicode("text", text)
    at_least("beam", beam, 1)
    if text is not None and file is not None:
        raise UserError("--file: give a text or a file, not both")
    task = commands("translate")
    if look is not None:
        if text is None:
            raise UserError("--look: draws a single text; give it after the run's folder")
        translation = task.look(run, settings_of("translate"), text, target=None, beam=beam, checkpoint=checkpoint)
        _write_lines([translation.text], output)
        task.draw(translation, look)
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
    stop: Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)] = (),
    seed: int | None = None,
    checkpoint: Checkpoint = "best",
) -> None:
    """Generate text that continues a prompt, and print it token by token.

    Args:
        run: Folder of a trained language model.
        prompt: Text to continue; without it, a new document is begun.
        tokens: Maximum number of tokens to generate.
        temperature: Sampling temperature: below 1 makes probable tokens more probable, above 1 less; 0 always takes the
            most probable token (greedy decoding).
        top_k: Sample only from this many of the most probable tokens, such as 50; by default from all.
        top_p: Nucleus sampling: sample only from the fewest tokens whose probabilities sum to at least this, such as
            0.9; by default from all.
        penalty: Repetition penalty: above 1, such as 1.2, makes tokens that have already occurred less probable; 1 is
            no penalty.
        stop: Stop before this text is generated; may be given several times.
        seed: Random seed; the same seed gives the same text. By default, a new one each time.
        checkpoint: Checkpoint to use: the one with the best validation metric, or the last one.
    """
    at_least("tokens", tokens, 1)
    at_least("temperature", temperature, 0)
    at_least("top-k", top_k, 1)
    if top_p is not None and not 0 < top_p <= 1:
        raise UserError(f"--top-p: must be above 0 and at most 1, got {top_p}")
    if penalty <= 0:
        raise UserError(f"--penalty: must be above 0, got {penalty}")
    if "" in stop:
        raise UserError("--stop: got an empty text, which would stop immediately")
    check_unicode("prompt", prompt)
    check_unicode("--stop", *stop)
    from regard.tasks.generate.model import Sampling

    sampling = Sampling(temperature, top_k, top_p, penalty, seed)
    task, options = commands("generate"), {"tokens": tokens, "stop": stop, "checkpoint": checkpoint}
    pieces = task.generate(run, settings_of("generate"), prompt, sampling, **options)
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
    """Print the most probable classes of each image, with their probabilities.

    If a file cannot be read, an error is printed for it, the others are classified, and the exit status is 1.

    Args:
        run: Folder of a trained classifier.
        images: Image files of any size; colour, greyscale or with transparency.
        top: Number of classes to print for each image.
        checkpoint: Checkpoint to use: the one with the best validation metric, or the last one.
        look: Also draw the attention over the image to this file, .png or .svg; only for a single image.
    """
    at_least("top", top, 1)
    if look is not None and len(images) != 1:
        raise UserError(f"--look: draws a single image, got {len(images)}")
    task, failed = commands("image"), False
    for result in task.classify(run, settings_of("image"), images, checkpoint=checkpoint):
        if isinstance(result, UserError):
            print(f"regard: {result}", file=sys.stderr)
            failed = True
            continue
        classes = "\t".join(f"{name} {probability:.4f}" for name, probability in result.classes[:top])
        print(f"{result.path}\t{classes}", flush=True)
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
    """Evaluate a trained model: BLEU, chrF, exact match and loss of a translator; loss, perplexity and bits per byte of
    a language model; accuracy and loss of a classifier.

    Args:
        run: Folder of a trained run.
        data: Data to evaluate on, in any format that training reads; by default the test split of the built-in corpus
            (translator trained on it), or the run's own validation data (language model, classifier).
        beam: Translator only: beam size, by default 5; 1 is greedy decoding.
        checkpoint: Checkpoint to use: the one with the best validation metric, or the last one.
        on_bad_line: Translator only: stop at lines that cannot be used, or skip them; by default as in training.
        on_bad: Classifier only: stop at an image that cannot be used, or skip it; by default as in training.
        image_column: Classifier only: the column of a table that has the image; by default as in training.
        label_column: Classifier only: the column of a table that has the class; by default as in training.
        output: Translator only: also write the translations to this file, one per line.
        tokenize: Translator only: sacreBLEU's tokenizer for BLEU, such as 13a, intl, zh, ja-mecab, ko-mecab or
            flores200; by default zh or char for languages without spaces between words, otherwise 13a.
        json: Print the scores as one JSON object.
    """
    from json import dumps

    from rich.console import Console

    from regard.train.run import check, kind

    at_least("beam", beam, 1)
    check(run)
    name = kind(run)
    task = commands(name)
    flags: dict[str, Any] = {"beam": beam, "on_bad_line": on_bad_line, "output": output, "tokenize": tokenize}
    flags |= {"on_bad": on_bad, "image_column": image_column, "label_column": label_column}
    options = given_options(flags, task.EVALUATE_OPTIONS, name)
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
    """Show the attention weights of a model: between a translation and its source, among the tokens of a text (language
    model), or over an image (classifier). They are printed in the terminal and drawn to a file.

    Args:
        run: Folder of a trained run.
        text: Source text for a translator, text for a language model, image file for a classifier.
        target: Translator only: show the attention for this translation instead of the model's own.
        out: Image file to draw, .png or .svg; by default, and without --html, alignment.png, or alignment-2.png and so
            on if it exists.
        html: Interactive page to write, a single .html file; not for a classifier.
        beam: Translator only: beam size, by default 5; 1 is greedy decoding.
        layer: Language model only: number of the layer, counted from 0; by default the last layer.
        head: Language model only: number of the head, counted from 0; by default the mean of all heads.
        checkpoint: Checkpoint to use: the one with the best validation metric, or the last one.
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
    options = given_options(
        {"target": target, "beam": beam, "layer": layer, "head": head, "html": html}, task.LOOK_OPTIONS, name
    )
    options.pop("html", None)  # the task only draws it
    attended = task.look(run, settings_of(name), text, checkpoint=checkpoint, **options)
    task.show(attended, Console())
    for path in [path for path in (out, html) if path is not None] or [_unused_name("alignment.png")]:
        task.draw(attended, path)
        print(f"drawn in {path}")


@app.command
def backends(*, device: str = "cpu", dtype: Literal["float64", "float32", "bfloat16", "float16"] = "float32") -> None:
    """Show the backends of this machine, and which one computes typical calls of attention and why.

    In Python, `regard.explain_choice(query, key, value, …)` shows the same for a call of yours.

    Args:
        device: PyTorch device of the calls, such as cpu or cuda.
        dtype: Data type of query, key and value.
    """
    from rich.console import Console

    from regard.cli.backends import show

    try:
        show(device, dtype, Console())
    except (RuntimeError, AssertionError) as error:  # raised by torch if there is no such device
        raise UserError(f"--device: {str(error).splitlines()[0]}") from None


def _unused_name(name: str) -> Path:
    """``name`` in the current folder, with the first number appended that makes it a new file if it exists."""
    path, number = Path(name), 1
    while path.exists():
        number += 1
        path = Path(f"{Path(name).stem}-{number}{Path(name).suffix}")
    return path


def _lines(file: Path | None) -> list[str]:
    """The lines to translate. Raises UserError: the file is missing, or not UTF-8."""
    if file is None and sys.stdin.isatty():
        print("type one text per line, then Ctrl-D to translate them:", file=sys.stderr)
    return read_text_lines(file)


def _write_lines(texts: Iterable[str], output: Path | None) -> None:
    """Write each text as one line, as soon as it is made. Raises UserError: the file cannot be opened."""
    try:
        # Written in place rather than renamed at the end, so that each translation can be read as soon as it is made.
        # A file that is already open, such as /dev/stdout, is appended to, so that its content is kept.
        mode = "a" if output is not None and is_stream(output) else "w"
        file = nullcontext(sys.stdout) if output is None else output.open(mode, encoding="utf-8", newline="\n")
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror})") from error
    with file as stream:
        for text in texts:
            print(one_line(text), file=stream, flush=True)
