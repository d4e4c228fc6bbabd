"""The mkdocs hook that makes the pages and figures of the gallery and the table of backends at each build."""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from mkdocs.structure.files import File, Files
from run import Example, figure, formula, refusals, run
from table import ENTRIES, Entry

from regard.kernels.backends import BACKENDS

SETTING = """\
```python
import torch
from regard import *

sentence = ["the", "old", "cat", "sat", "on", "the", "mat", "while", "the", "dog", "ran", "outside"]
words = …  # (12, 6): a vector for each word; similar words have similar vectors
```
"""


def on_config(config: Any) -> Any:
    """Add the gallery's pages to the navigation."""
    pages: list[Any] = [{"All": "gallery/index.md"}, {"Which backend runs what": "gallery/backends.md"}]
    for group, entries in groupby(ENTRIES, lambda entry: entry.group):
        pages.append({group: [{entry.name: f"gallery/{entry.slug}.md"} for entry in entries]})
    config.nav = [{"Gallery": pages} if "Gallery" in item else item for item in config.nav]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Run every example, and add the pages and figures to the site."""
    examples = {entry.name: run(entry) for entry in ENTRIES}
    made: dict[str, str | bytes] = {"gallery/index.md": _index(), "gallery/backends.md": _backends(examples)}
    for entry in ENTRIES:
        made[f"gallery/{entry.slug}.md"] = _page(entry, examples[entry.name])
        made[f"gallery/{entry.slug}.svg"] = figure(examples[entry.name].weights, entry.name)
        made[f"gallery/{entry.slug}-formula.svg"] = formula(entry.formula)
    for path, content in made.items():
        files.append(File.generated(config, path, content=content))
    return files


def _page(entry: Entry, example: Example) -> str:
    baseline = "" if entry.name == "Dot" else "![The same with a dot product and softmax](dot.svg){ width=49% }"
    output = f"\nIt prints\n\n```text\n{example.printed}```\n" if example.printed else ""
    return f"""# {entry.name}

![{entry.formula.replace("[", "(").replace("]", ")")}]({entry.slug}-formula.svg)

{entry.description}

**Paper.** {entry.paper}

**When to use it.** {entry.use}

**Cost.** {entry.cost}

![What each word attends to with {entry.name}]({entry.slug}.svg){{ width=49% }} {baseline}

*Each row shows what one word attends to; the darker, the larger the weight. Drawn from the code below by this build.*

```python
{entry.code}```
{output}
`sentence` and `words` are those of [all examples](index.md#the-example).
"""


def _index() -> str:
    parts = ["# Gallery\n\nEvery mechanism of `regard.attention`, on one example.\n"]
    for group, entries in groupby(ENTRIES, lambda entry: entry.group):
        parts.append(f"\n## {group}\n\n")
        parts += [f"[![{entry.name}]({entry.slug}.svg){{ width=32% }}]({entry.slug}.md)\n" for entry in entries]
    parts.append(
        "\n## The example\n\nSelf-attention over a sentence of twelve words. Each word is a vector of six invented "
        "features (article, animal, doing, place, joining, quality). There are no learned projections, so that the "
        "figures show the mechanism only. The vectors are in `docs/_gallery/example.py`.\n\n" + SETTING
    )
    return "".join(parts)


def _backends(examples: dict[str, Example]) -> str:
    names = [backend.name for backend in BACKENDS]
    lines = [
        "# Which backend runs what\n",
        "For the example of each page, in float32 on a CPU: ✓ if the backend can run it, otherwise the reason why not. "
        "The first backend from the left that can run a call does. `regard.explain_choice(…)` prints this for any "
        "call, and `regard backends` for a machine. This table is made by the build of this site.\n",
        *(f"- **{backend.name}**: {backend.what}" for backend in BACKENDS),
        "",
        f"| mechanism | {' | '.join(names)} |",
        f"|---|{'---|' * len(names)}",
    ]
    for entry in ENTRIES:
        cells = [reason or "✓" for reason in refusals(examples[entry.name]).values()]
        lines.append(f"| [{entry.name}]({entry.slug}.md) | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
