"""Configuration: flags before file before defaults; unknown names refused with the nearest."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import pytest
from cyclopts import App, Parameter

from regard.cli.config import file_settings, from_dict, load_yaml, read, to_yaml
from regard.errors import UserError


@dataclass(frozen=True)
class Engine:
    """An engine."""

    rate: float = 3e-4
    """How fast it turns."""
    fuel: Literal["coal", "wind"] = "coal"
    """What it burns, told at some length: so long that the comment in the file must be wrapped onto a second line."""
    cylinders: int | None = None
    """How many."""
    loud: bool = False
    """Whether one hears it."""


@dataclass(frozen=True)
class Machine:
    """A machine."""

    name: str = "it's: #1"
    """What it is called."""
    engine: Engine = field(default_factory=Engine)


def parse(*arguments: str) -> Machine:
    app = App(config=file_settings(Machine))

    @app.default
    def build(config: Annotated[Machine | None, Parameter(name="*")] = None, *, config_file: Annotated[
        Path | None, Parameter("--config")] = None) -> Machine:  # fmt: skip
        return config or Machine()

    made = app(list(arguments), exit_on_error=False, print_error=False, result_action="return_value")
    assert isinstance(made, Machine)
    return made


def test_flags_go_before_file_and_file_before_defaults(tmp_path: Path) -> None:
    file = tmp_path / "machine.yaml"
    file.write_text("name: café\nengine:\n  rate: 1e-2\n  cylinders: 4\n  loud: true\n")
    made = parse("--config", str(file), "--engine.cylinders", "6", "--engine.fuel", "wind")
    assert made == Machine("café", Engine(0.01, "wind", 6, True))
    assert parse("--config", str(file), "--engine.no-loud").engine.loud is False
    assert parse() == Machine()


def test_the_written_configuration_reads_back_equal(tmp_path: Path) -> None:
    file = tmp_path / "machine.yaml"
    for machine in (Machine(), Machine("- x\ty", Engine(1e-9, "wind", 3, True)), Machine("", Engine(2.0))):
        file.write_text(to_yaml(machine))
        assert read(file, Machine) == machine
    assert "  # How fast it turns." in to_yaml(machine).splitlines()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("engine: {rat: 1}", "unknown setting engine.rat; did you mean engine.rate?"),
        ("motor: {}", "unknown setting motor; known here: name, engine"),
        ("engine: {cylinders: big}", "engine.cylinders: expected a whole number or nothing, got 'big'"),
        ("engine: {cylinders: 1.5}", "engine.cylinders: expected a whole number or nothing, got 1.5"),
        ("engine: {cylinders: true}", "engine.cylinders: expected a whole number or nothing, got True"),
        ("engine: {rate: fast}", "engine.rate: expected a number, got 'fast'"),
        ("engine: {fuel: gas}", "engine.fuel: expected coal or wind, got 'gas'"),
        ("engine: {loud: 1}", "engine.loud: expected true or false, got 1"),
        ("engine: 3", "engine: expected settings below it, got 3"),
        ("- a", "expected settings such as"),
        ("a: [", "line 1: not YAML"),
    ],
)
def test_a_wrong_file_is_told_in_a_line(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "machine.yaml"
    file.write_text(text)
    with pytest.raises(UserError) as error:
        load_yaml(file, Machine)
    assert told in str(error.value)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_or_empty_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        load_yaml(tmp_path / "none.yaml", Machine)
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert load_yaml(tmp_path / "empty.yaml", Machine) == {}


def test_from_dict_takes_dashes() -> None:
    @dataclass(frozen=True)
    class Two:
        on_bad_line: str = "error"

    globals()["Two"] = Two
    assert from_dict(Two, {"on-bad-line": "skip"}, "here").on_bad_line == "skip"
