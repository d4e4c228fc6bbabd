"""The built-in corpus of short texts: the first line of a docstring, for the rest of it.

Read from the Python files that every installation of regard has, those of the standard library, NumPy and PyTorch,
without running them. A source begins with the signature, such as ``copyfile(src, dst):``, so that the names that a
first line mentions are known. All docstrings of a module, such as ``email`` or ``torch.optim``, are in the same split.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import sysconfig
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from regard.data.lines import compose
from regard.data.workers import in_processes

Split = Literal["train", "valid", "test"]

_SHARES: dict[Split, range] = {"train": range(90), "valid": range(90, 95), "test": range(95, 100)}
_LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "testing", "idlelib", "lib2to3", "__pycache__"}
_PACKAGES = ("numpy", "torch")
_SHORTEST, _LONGEST = 3, 25
"""Words of a first line."""

_BODY = 8
"""The fewest words of the rest of a docstring."""

Pair = tuple[str, str]


def corpus(count: int, *, split: Split) -> list[Pair]:
    """Up to ``count`` pairs of a docstring's rest and its first line; the same installation gives the same ones.

    Files are read in an order that their names determine, until there are enough pairs. A source that occurs again is
    left out.
    """
    files = [file for module, file in _files() if _hash(module) % 100 in _SHARES[split]]
    files.sort(key=lambda file: _hash(file.name + file.parent.name))
    pairs: dict[str, str] = {}
    # Starting other processes takes a second, in which this one reads more than a hundred docstrings.
    results = map(_reader(), files) if count <= 500 else in_processes(_reader, files)
    for one in results:
        for source, target in one:
            pairs.setdefault(source, target)
        if len(pairs) >= count:
            break
    return list(pairs.items())[:count]


def examples() -> list[str]:
    """Three sources of the test split."""
    return [source for source, _ in corpus(3, split="test")]


def pairs_of(code: bytes) -> Iterator[Pair]:
    """The pairs of a file's functions and classes.

    >>> code = '''def open_all(paths):
    ...     \"\"\"Open all files of paths.
    ...
    ...     Files that do not exist are left out, and a warning names them.
    ...     \"\"\"'''
    >>> list(pairs_of(code.encode()))
    [('open_all(paths): Files that do not exist are left out, and a warning names them.', 'Open all files of paths.')]
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of invalid escapes in other people's code
        try:
            tree = ast.parse(code)
        except (SyntaxError, ValueError):
            return
    for node in _documented(tree):
        text = compose(inspect.cleandoc(ast.get_docstring(node, clean=False) or ""))
        first, _, rest = text.partition("\n\n")
        first, rest = " ".join(first.split()), " ".join(rest.split())
        if _SHORTEST <= len(first.split()) <= _LONGEST and len(rest.split()) >= _BODY:
            yield f"{_signature(node)}: {rest}", first


Documented = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _documented(tree: ast.AST) -> Iterator[Documented]:
    """The functions and classes of a module and of its classes; those within functions are left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Documented):
            yield node
        if isinstance(node, (ast.ClassDef, ast.If, ast.Try)):
            yield from _documented(node)


def _signature(node: Documented) -> str:
    if isinstance(node, ast.ClassDef):
        return node.name
    names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    return f"{node.name}({', '.join(name for name in names if name not in ('self', 'cls'))})"


def _files() -> Iterator[tuple[str, Path]]:
    """The files that are read, and the module of each."""
    library = Path(sysconfig.get_paths()["stdlib"])
    roots = [(library, "")]
    for name in _PACKAGES:
        package = importlib.util.find_spec(name)
        if package is not None and package.origin is not None:
            roots.append((Path(package.origin).parent, name))
    for root, name in roots:
        for path in sorted(root.rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            if not _LEFT_OUT.intersection(parts):
                yield f"{name}.{parts[0]}", path


def _reader() -> Callable[[Path], list[Pair]]:
    return _read


def _read(path: Path) -> list[Pair]:
    try:
        return list(pairs_of(path.read_bytes()))
    except OSError:
        return []


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
