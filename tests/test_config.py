"""Configuration: flags before file before defaults; unknown names refused with the nearest."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import pytest
from cyclopts import App, CycloptsError, Parameter
from hypothesis import given, settings, strategies

from regard.cli.config import file_settings, from_dict, load_yaml, read, sections, to_yaml
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
class Hold:
    """What it takes along; its defaults are not empty, so that a lost null or an empty list shows."""

    on_board: tuple[str, ...] = ("bread", "salt")
    """What is in it."""
    shelves: tuple[int, ...] | None = (2, 3)
    """How much each shelf bears."""
    place: Path = Path("below")
    """Where it is."""
    lock: str | None = "key"
    """What closes it."""
    doors: Literal[1, 2] = 1
    """How many doors."""


@dataclass(frozen=True)
class Machine:
    """A machine."""

    name: str = "it's: #1"
    """What it is called."""
    engine: Engine = field(default_factory=Engine)
    hold: Hold = field(default_factory=Hold)


def make_app() -> App:
    app = App(config=file_settings(Machine))

    @app.default
    def build(config: Annotated[Machine | None, Parameter(name="*")] = None, *, config_file: Annotated[
        Path | None, Parameter("--config")] = None) -> Machine:  # fmt: skip
        return config or Machine()

    return app


def parse(*arguments: str) -> Machine:
    made = make_app()(list(arguments), exit_on_error=False, print_error=False, result_action="return_value")
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
        ("motor: {}", "unknown setting motor; known here: name, engine, hold"),
        ("engine: {cylinders: big}", "engine.cylinders: expected a whole number or nothing, got 'big'"),
        ("engine: {cylinders: 1.5}", "engine.cylinders: expected a whole number or nothing, got 1.5"),
        ("engine: {cylinders: true}", "engine.cylinders: expected a whole number or nothing, got True"),
        ("engine: {rate: fast}", "engine.rate: expected a number, got 'fast'"),
        ("engine: {fuel: gas}", "engine.fuel: expected coal or wind, got 'gas'"),
        ("engine: {loud: 1}", "engine.loud: expected true or false, got 1"),
        ("engine: {rate: [3e-4]}", "engine.rate: expected a number, got ['3e-4']"),
        ("engine: {rate: 1.2.3e4}", "engine.rate: expected a number, got '1.2.3e4'"),
        ("engine: {rate: 1" + "0" * 400 + "}", "engine.rate: expected a number, got 1000"),
        ("hold: {place: 3}", "hold.place: expected a path, got 3"),
        ("hold: {shelves: [5, x]}", "hold.shelves: expected a list (each a whole number) or nothing, got [5, 'x']"),
        ("hold: {on-board: bread}", "hold.on_board: expected a list (each text), got 'bread'"),
        ("hold: {doors: true}", "hold.doors: expected 1 or 2, got True"),
        ("name: a\nengine:\n  fuel: wind\n  # rate\n  rat: 1", "did you mean engine.rate? (line 5)"),
        ("engine:\n  rate: 1\n  rate: 2", "line 3: rate is given twice"),
        ("name: 2026-02-30", "not YAML (day is out of range for month)"),
        ("name: \x00", "not YAML (unacceptable character"),
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


def test_null_and_lists_of_a_file_come_through_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "machine.yaml"
    file.write_text("hold: {lock: null, shelves: null, on-board: [], place: a/b}")
    expected = Hold((), None, Path("a/b"), None)
    assert read(file, Machine).hold == expected
    assert parse("--config", str(file)).hold == expected
    assert parse("--config", str(file), "--hold.on-board", "x", "--hold.on-board", "y").hold.on_board == ("x", "y")
    file.write_text("hold: {lock: none}")
    assert parse("--config", str(file)).hold.lock == "none"


text = strategies.text(strategies.characters(codec="utf-8"), max_size=7)
holds = strategies.builds(
    Hold,
    on_board=strategies.lists(text, max_size=3).map(tuple),
    shelves=strategies.none() | strategies.lists(strategies.integers(), max_size=3).map(tuple),
    place=strategies.sampled_from([Path("a b"), Path("/é: #"), Path("3")]),
    lock=strategies.none() | text | strategies.sampled_from(["null", "3e-4", "no", "2026-01-01", "...", "a\nb"]),
)
floats = strategies.floats(allow_nan=False, allow_infinity=False)
engines = strategies.builds(Engine, rate=floats, loud=strategies.booleans())


@settings(max_examples=60, deadline=None, derandomize=True)
@given(machine=strategies.builds(Machine, name=text, engine=engines, hold=holds))
def test_any_configuration_reads_back_equal(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_text(to_yaml(machine), encoding="utf-8")
    assert read(file, Machine) == machine
    assert parse("--config", str(file)) == machine


def test_wrong_flags_are_told_in_a_line() -> None:
    for arguments, told in [
        (["--engine.rat", "1"], "Did you mean --engine.rate?"),
        (["--engine.cylinders", "big"], "--engine.cylinders: expected a whole number, got big"),
        (["--engine.fuel", "gas"], 'Choose from: "coal", "wind"'),
    ]:
        with pytest.raises((CycloptsError, UserError)) as error:
            parse(*arguments)
        assert told in str(error.value)
        assert "\n" not in str(error.value).strip()


def test_each_section_has_a_panel_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert sections(Machine) is Machine
    make_app()("--help", exit_on_error=False, result_action="return_value")
    told = capsys.readouterr().out
    assert told.index("--name") < told.index("─ Engine ─") < told.index("--engine.rate") < told.index("─ Hold ─")
    assert "How fast it turns. [default: 0.0003]" in told
    assert "--engine.no-loud" in told
    assert parse("--engine.cylinders", "3").engine.cylinders == 3


def test_from_dict_takes_dashes() -> None:
    assert from_dict(Machine, {"hold": {"on-board": ["x"]}}, "here").hold.on_board == ("x",)
    with pytest.raises(UserError, match=r"^here: unknown setting hold.on_bord; did you mean hold.on_board\?$"):
        from_dict(Machine, {"hold": {"on-bord": ["x"]}}, "here")


def test_importing_it_is_light() -> None:
    code = "import sys, regard.cli.config; print([m for m in ('torch', 'numpy', 'yaml', 'rich') if m in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert told.stdout == "[]\n"
