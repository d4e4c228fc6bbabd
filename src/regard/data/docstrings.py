"""The built-in corpus of short texts: the first line of a docstring, for the rest of it.

Read from the Python files that every installation of regard has, those of the standard library, NumPy and PyTorch,
without running them. A source begins with the words of the function's name and its arguments, such as ``Copy file (src,
dst):``, so that the names that a first line mentions are known. All docstrings of a folder of a package, such as
``email`` or ``torch.optim``, are in the same split, and no first line of another split is also one for training.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import itertools
import os
import re
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from regard.data.lines import compose

Split = Literal["train", "valid", "test"]

_SHARES: dict[Split, range] = {"train": range(90), "valid": range(90, 95), "test": range(95, 100)}
_LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "testing", "idlelib", "lib2to3", "__pycache__"}
_PACKAGES = ("numpy", "torch")
_SHORTEST, _LONGEST = 3, 25
"""Words of a first line."""

_BODY = 8
"""The fewest words of the rest of a docstring."""

_HEAD = re.compile(r"^[ \t]*((?:async[ \t]+def|def|class)[ \t])", re.MULTILINE)
_OPENING = re.compile(r":[ \t]*(?:#[^\n]*)?\n\s*[rRuU]?(\"\"\"|''')")
_EMPTY_LINE = re.compile(r"\n[ \t]*\n")
_NAME_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+")
_HEADER = 5000
"""The most characters of a function's header that are searched for the start of its docstring."""

_EXAMPLE = 40
"""The most words of an example."""

Pair = tuple[str, str]


def corpus(count: int, *, split: Split) -> list[Pair]:
    """Up to ``count`` pairs of a docstring's rest and its first line; the same installation gives the same ones.

    Files are read in an order that their names determine, until there are enough pairs. A source that occurs again is
    left out.
    """
    parts: list[Split] = ["valid", "test"] if split == "train" else []
    others = {first for part in parts for _, first in _pairs(part)}
    pairs: dict[str, str] = {}
    for source, first in _pairs(split):
        if first not in others:
            pairs.setdefault(source, first)
        if len(pairs) >= count:
            break
    return list(pairs.items())


def examples() -> list[str]:
    """Three short sources of the test split, of different files."""
    short = [source for source, _ in corpus(200, split="test") if len(source.split()) <= _EXAMPLE]
    return short[:: max(1, len(short) // 3)][:3]


def pairs_of(code: bytes) -> Iterator[Pair]:
    """The pairs of a file's functions and classes.

    >>> code = '''def open_all(paths):
    ...     \"\"\"Open all files of paths.
    ...
    ...     Files that do not exist are left out, and a warning names them.
    ...     \"\"\"'''
    >>> list(pairs_of(code.encode()))
    [('Open all (paths): Files that do not exist are left out, and a warning names them.', 'Open all files of paths.')]
    """
    for node in _documented(code):
        text = compose(inspect.cleandoc(ast.get_docstring(node, clean=False) or ""))
        first, _, rest = text.partition("\n\n")
        first, rest = " ".join(first.split()), " ".join(rest.split())
        if _SHORTEST <= len(first.split()) <= _LONGEST and len(rest.split()) >= _BODY:
            yield f"{_signature(node)}: {rest}", first


Documented = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _documented(code: bytes) -> Iterator[Documented]:
    """The functions and classes that have a docstring of several paragraphs, without the code that follows it.

    Only a header and its docstring are parsed, which takes a tenth of the time of parsing the file.
    """
    try:
        text = code.decode().replace("\r\n", "\n")
    except UnicodeDecodeError:
        return
    starts = [match.start(1) for match in _HEAD.finditer(text)]
    end = 0
    for start, following in itertools.pairwise([*starts, len(text)]):
        opening = _OPENING.search(text, start, min(following, start + _HEADER)) if start >= end else None
        closing = -1 if opening is None else text.find(opening[1], opening.end())
        if opening is None or closing < 0:
            continue
        end = closing + len(opening[1])
        if _EMPTY_LINE.search(text, opening.end(), closing):
            yield from _parsed(text[start:end])


def _parsed(code: str) -> Iterator[Documented]:
    """The function or class that ``code`` is; nothing if it is something else, such as an example in a text."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of invalid escapes in other people's code
        try:
            node = ast.parse(code).body[0]
        except (SyntaxError, ValueError):
            return
    if isinstance(node, Documented):
        yield node


def _signature(node: Documented) -> str:
    """The words of a name, and the arguments of a function.

    >>> [_signature(node) for node in ast.parse("def copy_2files(self, src, *, dst): ...\\nclass HTTPServer: ...").body]
    ['Copy 2 files (src, dst)', 'HTTP server']
    """
    words = [word if word.isupper() else word.lower() for word in _NAME_WORD.findall(node.name)] or [node.name]
    name = " ".join((words[0][:1].upper() + words[0][1:], *words[1:]))
    if isinstance(node, ast.ClassDef):
        return name
    names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    return f"{name} ({', '.join(name for name in names if name not in ('self', 'cls'))})"


def _pairs(split: Split) -> Iterator[Pair]:
    """The pairs of a split, file by file."""
    files = [(_hash(path.name + group), path) for group, path in _files() if _hash(group) % 100 in _SHARES[split]]
    for _, path in sorted(files):
        try:
            code = path.read_bytes()
        except OSError:
            continue
        yield from pairs_of(code)


def _files() -> Iterator[tuple[str, Path]]:
    """The files that are read, each with the module or the folder of modules whose files are in the same split."""
    roots = [(sysconfig.get_paths()["stdlib"], "")]
    for name in _PACKAGES:
        package = importlib.util.find_spec(name)
        if package is not None and package.origin is not None:
            roots.append((os.path.dirname(package.origin), name))
    for root, name in roots:
        for folder, folders, files in os.walk(root):
            folders[:] = sorted(set(folders) - _LEFT_OUT)
            parts = os.path.relpath(folder, root).split(os.sep) if folder != root else []
            for file in files:
                if file.endswith(".py"):
                    yield ".".join((name, *(parts or [file]))), Path(folder, file)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
