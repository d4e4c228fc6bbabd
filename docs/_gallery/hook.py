"""The hook of mkdocs that makes the gallery's pages, their pictures and the table of backends at each build."""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from mkdocs.structure.files import File, Files
from run import Ran, formula, picture, refusals, run
from table import ENTRIES, Entry

from regard.kernels.backends import BACKENDS

SETTING = """\
```python
import torch
from regard import *

sentence = ["the", "old", "cat", "sat", "on", "the", "mat", "while", "the", "dog", "ran", "outside"]
words = …  # (12, 6): a vector a word; words that are alike have vectors that are
```
"""


def on_config(config: Any) -> Any:
    """Put the gallery's pages into the navigation."""
    pages: list[Any] = [{"All": "gallery/index.md"}, {"Which backend runs what": "gallery/backends.md"}]
    for group, entries in groupby(ENTRIES, lambda entry: entry.group):
        pages.append({group: [{entry.name: f"gallery/{entry.slug}.md"} for entry in entries]})
    config.nav = [{"Gallery": pages} if "Gallery" in item else item for item in config.nav]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Run every example, and add what comes of it."""
    ran = {entry.name: run(entry) for entry in ENTRIES}
    made: dict[str, str | bytes] = {"gallery/index.md": _index(), "gallery/backends.md": _backends(ran)}
    for entry in ENTRIES:
        made[f"gallery/{entry.slug}.md"] = _page(entry, ran[entry.name])
        made[f"gallery/{entry.slug}.svg"] = picture(ran[entry.name].weights, entry.name)
        made[f"gallery/{entry.slug}-formula.svg"] = formula(entry.formula)
    for path, content in made.items():
        files.append(File.generated(config, path, content=content))
    return files


def _page(entry: Entry, ran: Ran) -> str:
    plain = "" if entry.name == "Dot" else "![The same by a plain dot product and softmax](dot.svg){ width=49% }"
    printed = f"\nIt prints\n\n```text\n{ran.printed}```\n" if ran.printed else ""
    return f"""# {entry.name}

![{entry.formula.replace("[", "(").replace("]", ")")}]({entry.slug}-formula.svg)

{entry.what}

**Paper.** {entry.paper}

**When.** {entry.when}

**Cost.** {entry.cost}

![What each word attends to with {entry.name}]({entry.slug}.svg){{ width=49% }} {plain}

*Each row is a word, and what it attends to; the darker, the more. Drawn by this site's build from the code below.*

```python
{entry.code}```
{printed}
`sentence` and `words` are those of [all examples](index.md#the-example).
"""


def _index() -> str:
    parts = ["# Gallery\n\nEvery mechanism of `regard.attention`, on one example.\n"]
    for group, entries in groupby(ENTRIES, lambda entry: entry.group):
        parts.append(f"\n## {group}\n\n")
        parts += [f"[![{entry.name}]({entry.slug}.svg){{ width=32% }}]({entry.slug}.md)\n" for entry in entries]
    parts.append(
        "\n## The example\n\nA sentence of twelve words, each a vector of six made-up features (article, animal, "
        "doing, place, joining, quality), which attends to itself. No projections are learned, so what is seen is the "
        "mechanism alone. The vectors are in `docs/_gallery/example.py`.\n\n" + SETTING
    )
    return "".join(parts)


def _backends(ran: dict[str, Ran]) -> str:
    names = [backend.name for backend in BACKENDS]
    lines = [
        "# Which backend runs what\n",
        "Made by this site's build: each backend was asked whether it would run the example of each page, in float32 "
        "on CPU. Backends are asked from left to right, and the first that does not refuse runs the call; "
        "`regard.explain_choice(…)` tells it of any call, `regard backends` of the machine.\n",
        *(f"- **{backend.name}**: {backend.what}" for backend in BACKENDS),
        "",
        f"| mechanism | {' | '.join(names)} |",
        f"|---|{'---|' * len(names)}",
    ]
    for entry in ENTRIES:
        told = [reason or "✓" for reason in refusals(ran[entry.name]).values()]
        lines.append(f"| [{entry.name}]({entry.slug}.md) | {' | '.join(told)} |")
    return "\n".join(lines) + "\n"
