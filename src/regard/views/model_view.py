"""`ModelView`: the attention of all layers and heads of a model to one sequence, with its tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from regard.attend import Look, View
from regard.files import is_page
from regard.viewer.answers import Answers
from regard.viewer.page import write_page
from regard.views.inputs import Precision
from regard.views.layer import LayerView
from regard.views.tokens import Tokens

STATISTICS = Look(entropy=True, received=True, sinks=True, map=(64, 64))
"""A look with what a `ModelView` shows and saves."""

CROSS = re.compile(r"encoder_attn|cross_?att|encdec|enc_dec|multihead_attn", re.IGNORECASE)
"""Names of modules that attend from a decoder to an encoder: BART, BERT and GPT-2, T5, PyTorch."""

_NUMBER = re.compile(r"(^|\.)\d+(?=\.|$)")


class ModelView(Mapping[tuple[str, int], LayerView]):
    """The views of all layers of a model for one sequence, by module and number of the call, in the order of layers.

    Collect the views with `regard.looking` and, to see single weights, ``inputs=True``. The results of each view begin
    with the heads.

    Args:
        seen: what `regard.looking` yields, or any mapping like it.
        tokens: the tokens of the input, as `Tokens` or pieces of a tokenizer. Without, and where there are fewer than
            keys, the numbers of positions are shown.
        target: the tokens of the output of an encoder–decoder. Its modules are told by their names.
        example: the number of the sequence in its batch.

    Raises:
        ValueError: there is no such sequence, or no attention has as many keys as there are tokens.

    Example:
        >>> import torch
        >>> from regard import looking
        >>> from regard.views import STATISTICS, ModelView
        >>> layer = torch.nn.TransformerEncoderLayer(16, 4, batch_first=True)
        >>> model = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
        >>> with looking(model, STATISTICS, inputs=True) as seen:
        ...     output = model(torch.randn(1, 4, 16))
        >>> shown = ModelView(seen, ["[CLS]", "un", "##seen", "cats"])
        >>> shown
        ModelView(layers.*.self_attn: 2 × 4 heads, 4 × 4 tokens)
        >>> layer = shown["layers.1.self_attn", 0]
        >>> layer.view.entropy.shape, layer.words().keys
        (torch.Size([4, 4]), ('[CLS]', 'unseen', 'cats'))
    """

    def __init__(
        self,
        seen: Mapping[tuple[str, int], View],
        tokens: Tokens | Sequence[str] | None = None,
        *,
        target: Tokens | Sequence[str] | None = None,
        example: int = 0,
    ):
        sides = [side if isinstance(side, Tokens | None) else Tokens.of(side) for side in (tokens, target)]
        views = {key: view.example(example) for key, view in seen.items()}
        longest = max((view.shape[2] for view in views.values()), default=0)
        for name, side in (("tokens", sides[0]), ("target", sides[1])):
            if side is not None and views and len(side) > longest + 1:
                raise ValueError(f"{name}: got {len(side)}, but no attention has more than {longest} keys")
        self._layers = {
            (module, call): LayerView(module, call, view, *labels(module, view.shape, *sides))
            for (module, call), view in views.items()
        }

    @classmethod
    def of(cls, layers: Sequence[LayerView]) -> ModelView:
        """The view of a model from those of its layers."""
        view = cls({})
        view._layers = {(layer.module, layer.call): layer for layer in layers}
        return view

    @property
    def layers(self) -> tuple[LayerView, ...]:
        """All layers."""
        return tuple(self._layers.values())

    @property
    def groups(self) -> dict[str, tuple[LayerView, ...]]:
        """Layers of the same kind, by their name with ``*`` in place of its first number."""
        groups: dict[str, list[LayerView]] = {}
        for layer in self._layers.values():
            groups.setdefault(_NUMBER.sub(r"\1*", layer.module, count=1), []).append(layer)
        return {name: tuple(layers) for name, layers in groups.items()}

    def save(
        self,
        path: str | Path,
        *,
        inputs: bool = False,
        title: str = "Attention",
        layers: Sequence[int] | None = None,
        heads: Sequence[int] | None = None,
        precision: Precision = "half",
    ) -> None:
        """Write all layers to a file: an interactive page, or statistics and maps which `regard.views.load` reads.

        A page, whose name ends in ``.html``, is one file that needs no network. It computes any weight of the heads
        whose queries and keys it has.

        Args:
            path: of the file.
            inputs: write queries and keys, too, in half precision; any weight of the file is then exact for these. A
                layer whose mechanism does not allow it is without them, and `LayerView.why` says why. A page has them
                without being asked.
            title: of a page.
            layers: for a page: numbers of layers, in the order of `layers`; None: all.
            heads: for a page: numbers of heads, all of them with queries and keys; None: all heads, of which so many
                have queries and keys as fit into 24 MB.
            precision: for a page: ``"half"``: its weights are exact to about 2 · 10⁻³; ``"single"``: to 10⁻⁶.

        Raises:
            UserError: the file cannot be written.
            ValueError: there is no such layer or head.
        """
        from regard.views.document import document_of
        from regard.views.saved import save

        if is_page(path):
            chosen = document_of(self, title=title, layers=layers, heads=heads, precision=precision)
            write_page(chosen, Path(path))
        else:
            save(self, Path(path), inputs=inputs)

    def show(self, *, title: str = "Attention") -> Any:
        """The viewer of all layers, for a notebook, in which each part is computed when it is looked at.

        Args:
            title: a line above all.

        Returns:
            A widget.

        Raises:
            UserError: the extra ``notebook`` is not installed.
        """
        from regard.viewer.notebook import widget
        from regard.views.document import document_of

        return widget(Answers(document_of(self, title=title, limit=0), [layer.view for layer in self.layers]))

    def __getitem__(self, key: tuple[str, int]) -> LayerView:
        return self._layers[key]

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    def __repr__(self) -> str:
        parts = (
            f"{name}: {len(layers)} × {layers[0].heads} heads, {len(layers[0].queries)} × {len(layers[0].keys)} tokens"
            for name, layers in self.groups.items()
        )
        return f"ModelView({'; '.join(parts)})"


def labels(module: str, shape: Sequence[int], source: Tokens | None, target: Tokens | None) -> tuple[Tokens, Tokens]:
    """The tokens of queries and keys of a module, for weights of ``shape`` (H, Lq, Lk)."""
    queries, keys = shape[1:]
    cross = target is not None and CROSS.search(module) is not None
    own = target if cross or "decoder" in module else source
    own = source if own is None else own
    if cross:
        return _side(own, 0, queries), _side(source, 0, keys)
    # Behind a cache of past keys, the queries are the last positions.
    return _side(own, max(0, keys - queries), queries), _side(own, 0, keys)


def _side(tokens: Tokens | None, first: int, count: int) -> Tokens:
    if tokens is None or first + count > len(tokens):
        return Tokens.positions(count, first)
    return tokens.part(first, first + count)
