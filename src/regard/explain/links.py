"""Links between the words of two texts: Pharaoh's format, symmetrization, and the alignment error rate."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from regard.errors import UserError

Links = frozenset[tuple[int, int]]
"""Pairs of the numbers of a source word and a target word, from 0."""

Symmetrization = Literal["union", "intersection", "grow-diag", "grow-diag-final-and"]

_LINK = re.compile(r"(\d+)([-p?])(\d+)")
_NEIGHBOURS = ((-1, 0), (0, -1), (1, 0), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))


class Gold(NamedTuple):
    """Links that people drew: the ``possible`` ones include the ``sure`` ones."""

    sure: Links
    possible: Links


class ErrorRate(NamedTuple):
    """The alignment error rate, the precision by possible links, and the recall of sure ones, from 0 to 1."""

    error: float
    precision: float
    recall: float


def to_pharaoh(links: Iterable[tuple[int, int]]) -> str:
    """Links as text, by source word.

    >>> to_pharaoh({(1, 0), (0, 2)})
    '0-2 1-0'
    """
    return " ".join(f"{source}-{target}" for source, target in sorted(links))


def from_pharaoh(line: str, *, first: int = 0, where: str = "links") -> Gold:
    """The links of a line: ``3-4`` is sure; ``3p4`` and ``3?4`` are possible.

    Args:
        line: links, separated by white space; an empty line has none.
        first: the number of a text's first word, 0 or 1.
        where: names the line in an error message.

    Raises:
        UserError: something else is in the line, or a number is below ``first``.

    >>> sorted(from_pharaoh("1-1 2p1", first=1).possible)
    [(0, 0), (1, 0)]
    """
    sure, possible = set(), set()
    for text in line.split():
        match = _LINK.fullmatch(text)
        if match is None:
            raise UserError(f"{where}: expected links such as 0-2, or 0p2 for a possible one, got {text!r}")
        link = int(match[1]) - first, int(match[3]) - first
        if min(link) < 0:
            raise UserError(f"{where}: words are numbered from {first}, got {text!r}")
        possible.add(link)
        if match[2] == "-":
            sure.add(link)
    return Gold(frozenset(sure), frozenset(possible))


def error_rate(hypotheses: Sequence[Links], golds: Sequence[Gold]) -> ErrorRate:
    """The alignment error rate of a corpus (Och and Ney 2003, doi:10.1162/089120103321337421).

    ``1 − (|A ∩ S| + |A ∩ P|) / (|A| + |S|)``, each summed over all sentences, for hypotheses A, sure links S and
    possible links P.

    Raises:
        ValueError: the lengths differ, or there is no link at all.

    >>> gold = Gold(frozenset({(0, 0)}), frozenset({(0, 0), (1, 1)}))
    >>> error_rate([frozenset({(0, 0), (1, 0)})], [gold]).error
    0.33333333333333337
    """
    if len(hypotheses) != len(golds):
        raise ValueError(f"hypotheses: one for each of {len(golds)} sentences is needed, got {len(hypotheses)}")
    drawn = sum(map(len, hypotheses))
    sure = sum(len(gold.sure) for gold in golds)
    if drawn + sure == 0:
        raise ValueError("hypotheses: neither they nor the golds have a link")
    right_sure = sum(len(links & gold.sure) for links, gold in zip(hypotheses, golds, strict=True))
    right = sum(len(links & gold.possible) for links, gold in zip(hypotheses, golds, strict=True))
    return ErrorRate(1 - (right_sure + right) / (drawn + sure), right / max(drawn, 1), right_sure / max(sure, 1))


def symmetrized(one: Links, other: Links, how: Symmetrization = "grow-diag") -> Links:
    """The links of two alignments of the same texts, such as those of models of both directions.

    grow-diag begins with the links of both, and adds those of either beside a link that it has, diagonally too, as long
    as one of their words has no link; grow-diag-final-and also adds links of either whose words both have none (Koehn
    et al. 2003, aclanthology.org/N03-1017; Koehn et al. 2005).

    Raises:
        ValueError: ``how`` is unknown.

    >>> to_pharaoh(symmetrized(frozenset({(0, 0), (1, 1)}), frozenset({(0, 0), (1, 2), (5, 5)})))
    '0-0 1-1 1-2'
    """
    if how == "union":
        return one | other
    if how == "intersection":
        return one & other
    if how not in ("grow-diag", "grow-diag-final-and"):
        raise ValueError(f"how: union, intersection, grow-diag or grow-diag-final-and, got {how!r}")
    links = _grown(one & other, one | other)
    if how == "grow-diag-final-and":
        for source, target in (*sorted(one), *sorted(other)):
            if all(source != left and target != right for left, right in links):
                links.add((source, target))
    return frozenset(links)


def _grown(start: Links, allowed: Links) -> set[tuple[int, int]]:
    """``start`` with the allowed neighbours that give a link to a word without one, until there is none left."""
    links = set(start)
    sources, targets = ({link[side] for link in start} for side in (0, 1))
    while True:
        before = len(links)
        for source, target in sorted(links):
            for down, right in _NEIGHBOURS:
                near = source + down, target + right
                if near in allowed and (near[0] not in sources or near[1] not in targets):
                    links.add(near)
                    sources.add(near[0])
                    targets.add(near[1])
        if len(links) == before:
            return links
