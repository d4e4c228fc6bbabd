"""Decoders on top of a function that computes one step: greedy, beam search and sampling."""

from regard.decode.beam import beam_search
from regard.decode.constraints import excluding, without_repeats
from regard.decode.ctc import align, joint
from regard.decode.greedy import greedy
from regard.decode.sample import filter_logits, sample
from regard.decode.step import Hypothesis, State, Step, StepFunction, select

__all__ = [
    "Hypothesis",
    "State",
    "Step",
    "StepFunction",
    "align",
    "beam_search",
    "excluding",
    "filter_logits",
    "greedy",
    "joint",
    "sample",
    "select",
    "without_repeats",
]
