"""``regard explain``: scores of attributions of a classifier, with those of a random one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App

from regard.errors import UserError
from regard.pretrained.options import PREFIX

if TYPE_CHECKING:
    from regard.attribution.compared import Compared
    from regard.pretrained.classifier import Classifier

_SCORES = {"comprehensiveness": "high", "sufficiency": "low", "deletion": "low", "insertion": "high"}
"""The scores, and whether a high or a low one is good."""

_EXAMPLES = """Examples:

- `regard explain hf:FOLDER --data reviews.tsv`: all methods and scores for 20 texts, as a table and as a drawing.
- `regard explain hf:FOLDER --data reviews.csv --methods relevance,alti --scores deletion,insertion --limit 200`
"""


def add_command(app: App) -> None:
    """Add ``regard explain``."""
    app.command(_explain, name="explain", help_epilogue=_EXAMPLES)


def _explain(
    model: str,
    /,
    *,
    data: str,
    methods: str = "all",
    scores: str = "all",
    limit: int = 20,
    out: Path = Path("attribution.png"),
    json: bool = False,
) -> None:
    """Compare attributions of a classifier of texts: does removing the words that they name change the result?

    Each method says how much of the predicted class comes from each token. The scores are means over texts of what
    happens to the probability of this class when the strongest tokens are removed or kept. A method is worth something
    only where it is clearly better than the random attribution in the last row.

    Args:
        model: "hf:" and the folder or the hub name of a classifier of texts by Hugging Face.
        data: Texts with labels, in any format that `regard train classify-text` reads.
        methods: all, or some of weights, norms, block_norms, rollout, alti, relevance, gradient_x_input, with commas.
        scores: all, or some of comprehensiveness, sufficiency, deletion, insertion, with commas.
        limit: How many texts to use, from the first one on.
        out: Image file to draw, .png or .svg.
        json: Print the scores as one JSON object, and draw nothing.
    """
    if not model.startswith(PREFIX):
        raise UserError(f"{model}: expected hf: and a folder or a name on the hub, such as hf:{model}")
    if limit < 1:
        raise UserError(f"--limit: must be positive, got {limit}")
    chosen = _named("--scores", scores, tuple(_SCORES))
    if not json:
        from regard.explain.draw import check_image_name

        check_image_name(out)
    from regard.attribution.methods import METHODS
    from regard.data.texts import read_texts
    from regard.pretrained.classifier import Classifier

    wanted = _named("--methods", methods, tuple(METHODS))
    texts = read_texts(data)
    classifier = Classifier(model.removeprefix(PREFIX))
    labels = [classifier.number_of(texts.names[at], data) for at in texts.labels[:limit]]
    compared, notes = _compare(classifier, texts.texts[:limit], labels, wanted)
    _print(compared, chosen, notes, json=json)
    if not json:
        from regard.explain.scored import save_scores

        bars = {name: {method: getattr(row, name) for method, row in compared.scores.items()} for name in chosen}
        save_scores(bars, {name: f"{_SCORES[name]} is good" for name in chosen}, out, title=f"{model}, {notes[0]}")
        print(f"drawn in {out}")


def _named(option: str, text: str, known: tuple[str, ...]) -> list[str]:
    """The names in a list with commas, of those that are known. Raises UserError: another one."""
    names = list(known) if text == "all" else [name.strip() for name in text.split(",")]
    for name in names:
        if name not in known:
            raise UserError(f"{option}: {name!r} is none of {', '.join(known)}, and not all")
    return list(dict.fromkeys(names))


def _compare(
    classifier: Classifier, texts: tuple[str, ...], labels: list[int], methods: list[str]
) -> tuple[Compared, list[str]]:
    """The scores, and what there is to say about the texts."""
    import torch

    from regard.attribution.compared import compare
    from regard.data.progress import counted

    encoded = [classifier.encode(text) for text in texts]
    with torch.inference_mode():
        right = sum(
            int(classifier.model(**one.inputs).logits.argmax()) == label
            for one, label in zip(encoded, labels, strict=True)
        )
    with counted(f"explaining {len(texts):,} texts") as count:
        pairs = [(one.inputs, one.candidates) for one in encoded]
        compared = compare(classifier.model, pairs, classifier.replacement_number, methods, count=count)
    notes = [
        f"{compared.count:,} texts, {right:,} of {len(texts):,} classified as labelled",
        f"removed tokens are replaced by {classifier.replacement}",
    ]
    if cut := sum(one.cut for one in encoded):
        notes.append(f"cut, because the model takes no more: {cut:,} of {len(texts):,} texts")
    return compared, notes


def _print(compared: Compared, chosen: list[str], notes: list[str], *, json: bool) -> None:
    from json import dumps

    if json:
        rows = {method: {name: getattr(row, name) for name in chosen} for method, row in compared.scores.items()}
        print(dumps({"texts": compared.count, "scores": rows, "left_out": compared.left_out}, ensure_ascii=False))
        return
    for note in notes:
        print(note)
    print("".join([f"{'':18}", *(f"{name:>19}" for name in chosen)]))
    print("".join([f"{'good is':18}", *(f"{_SCORES[name]:>19}" for name in chosen)]))
    for method, row in compared.scores.items():
        print("".join([f"{method:18}", *(f"{getattr(row, name):19.3f}" for name in chosen)]))
    for method, reason in compared.left_out.items():
        print(f"left out {method}: {reason}", file=sys.stderr)
