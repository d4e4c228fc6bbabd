"""``regard explain``: scores of attributions of a trained model, with those of a random one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App

from regard.cli.options import Checkpoint
from regard.errors import UserError
from regard.pretrained.options import PREFIX

if TYPE_CHECKING:
    from regard.attribution.compared import Compared, Explainable

_SCORES = {"comprehensiveness": "high", "sufficiency": "low", "deletion": "low", "insertion": "high"}
"""The scores, and whether a high or a low one is good."""

_HITS = "hit rate"

_EXAMPLES = """Examples:

- `regard explain runs/requests`: all methods and scores for 20 held-out texts of a run of classify-text or translate.
- `regard explain runs/requests --data mine.tsv --methods relevance,rollout --scores deletion,insertion --limit 200`
- `regard explain hf:FOLDER --data reviews.tsv`: the same for a classifier of texts by Hugging Face.
"""


def add_command(app: App) -> None:
    """Add ``regard explain``."""
    app.command(_explain, name="explain", help_epilogue=_EXAMPLES)


def _explain(
    model: str,
    /,
    *,
    data: str | None = None,
    methods: str = "all",
    scores: str = "all",
    limit: int = 20,
    checkpoint: Checkpoint = "best",
    out: Path = Path("attribution.png"),
    json: bool = False,
) -> None:
    """Compare attributions of a model: does removing the words that they name change the result?

    Each method says how much of a result comes from each token: of the predicted class of a text, or of the
    probability of a translation. The scores are means of what happens to this probability when the strongest tokens
    are removed or kept. A method is worth something only where it is clearly better than the random attribution in
    the last row. Where it is known which word decides, as in the built-in texts, the hit rate is how often it is the
    strongest.

    Args:
        model: Folder of a run of classify-text or translate, or "hf:" and the folder or the hub name of a classifier
            of texts by Hugging Face.
        data: Texts with labels, or pairs, in any format that training reads; by default held-out data of the run.
        methods: all, or some of weights, norms, block_norms, rollout, alti, relevance, gradient_x_input, with commas.
        scores: all, or some of comprehensiveness, sufficiency, deletion, insertion, with commas.
        limit: How many texts to use, from the first one on.
        checkpoint: Checkpoint of a run: the one with the best validation metric, or the last one.
        out: Image file to draw, .png or .svg.
        json: Print the scores as one JSON object, and draw nothing.
    """
    if limit < 1:
        raise UserError(f"--limit: must be positive, got {limit}")
    chosen = _named("--scores", scores, tuple(_SCORES))
    if not json:
        from regard.explain.draw import check_image_name

        check_image_name(out)
    from regard.attribution.compared import compare
    from regard.attribution.methods import METHODS
    from regard.data.progress import counted

    wanted = _named("--methods", methods, tuple(METHODS))
    results = (
        _of_hugging_face(model, data, limit) if model.startswith(PREFIX) else _of_run(model, data, limit, checkpoint)
    )
    with counted(f"explaining {len(results.cases):,} {results.unit}") as count:
        compared = compare(results, wanted, count=count)
    notes = [f"{compared.count:,} {results.unit}, {results.notes[0]}", *results.notes[1:]]
    _print(compared, chosen, results.unit, notes, json=json)
    if not json:
        from regard.explain.scored import save_scores

        bars = {name: {method: getattr(row, name) for method, row in compared.scores.items()} for name in chosen}
        good = {name: f"{_SCORES[name]} is good" for name in chosen}
        if compared.hits:
            bars, good = {_HITS: compared.hits, **bars}, {_HITS: "high is good", **good}
        save_scores(bars, good, out, title=f"{model}, {notes[0]}")
        print(f"drawn in {out}")


def _named(option: str, text: str, known: tuple[str, ...]) -> list[str]:
    """The names in a list with commas, of those that are known. Raises UserError: another one."""
    names = list(known) if text == "all" else [name.strip() for name in text.split(",")]
    for name in names:
        if name not in known:
            raise UserError(f"{option}: {name!r} is none of {', '.join(known)}, and not all")
    return list(dict.fromkeys(names))


def _of_run(folder: str, data: str | None, limit: int, checkpoint: Checkpoint) -> Explainable:
    """Results of a run."""
    from regard.tasks.running import explainable

    return explainable(folder, data, checkpoint=checkpoint, limit=limit)


def _of_hugging_face(model: str, data: str | None, limit: int) -> Explainable:
    """Results of a classifier of Hugging Face."""
    if data is None:
        raise UserError("--data: name texts with labels for a model of Hugging Face")
    from regard.data.texts import read_texts
    from regard.pretrained.classifier import Classifier

    texts = read_texts(data)
    classifier = Classifier(model.removeprefix(PREFIX))
    labels = [classifier.number_of(texts.names[at], data) for at in texts.labels[:limit]]
    return classifier.explainable(texts.texts[:limit], labels)


def _print(compared: Compared, chosen: list[str], unit: str, notes: list[str], *, json: bool) -> None:
    from json import dumps

    columns = {name: _SCORES[name] for name in chosen}
    rows = {method: {name: getattr(row, name) for name in chosen} for method, row in compared.scores.items()}
    if compared.hits:
        columns = {_HITS: "high", **columns}
        rows = {method: {_HITS: compared.hits[method], **row} for method, row in rows.items()}
    if json:
        print(dumps({unit: compared.count, "scores": rows, "left_out": compared.left_out}, ensure_ascii=False))
        return
    for note in notes:
        print(note)
    print("".join([f"{'':18}", *(f"{name:>19}" for name in columns)]))
    print("".join([f"{'good is':18}", *(f"{good:>19}" for good in columns.values())]))
    for method, row in rows.items():
        print("".join([f"{method:18}", *(f"{value:19.3f}" for value in row.values())]))
    for method, reason in compared.left_out.items():
        print(f"left out {method}: {reason.removeprefix(method + ': ')}", file=sys.stderr)
