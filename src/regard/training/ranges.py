"""Checks that settings are in range; imports no torch."""

from __future__ import annotations


def positive(where: str, section: object, *names: str) -> str | None:
    """The error message for the first of these settings that is not above 0; None is allowed."""
    for name in names:
        value = getattr(section, name)
        if value is not None and not value > 0:
            return f"{where}.{name}: must be above 0, got {value}"
    return None


def not_negative(where: str, section: object, *names: str) -> str | None:
    """The error message for the first of these settings that is below 0; None is allowed."""
    for name in names:
        value = getattr(section, name)
        if value is not None and not value >= 0:
            return f"{where}.{name}: must not be below 0, got {value}"
    return None


def share(where: str, section: object, *names: str) -> str | None:
    """The error message for the first of these settings that is not in [0, 1)."""
    for name in names:
        if not 0 <= getattr(section, name) < 1:
            return f"{where}.{name}: must be at least 0 and below 1, got {getattr(section, name)}"
    return None


def at_most(where: str, section: object, limit: int, *names: str) -> str | None:
    """The error message for the first of these settings that is above ``limit``; None is allowed."""
    for name in names:
        value = getattr(section, name)
        if value is not None and value > limit:
            return f"{where}.{name}: must be at most {limit:,}, got {value:,}"
    return None


def enough_tokens(section: object, *names: str) -> str | None:
    """The error message for the first of these sizes of a byte-level tokenizer that is too small; None is allowed."""
    for name in names:
        size = getattr(section, name)
        if size is not None and size < 300:
            return f"tokenizer.{name}: must be at least 300 (256 bytes, 4 special tokens and merges), got {size}"
    return None


def at_least(name: str, value: float | None, minimum: float) -> str | None:
    """The error message for a command's option that is below ``minimum``; None is allowed."""
    if value is not None and not value >= minimum:
        return f"--{name}: must be at least {minimum}, got {value}"
    return None
