"""Configuration: flags override the file, which overrides defaults; an unknown name is an error with a suggestion."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import pytest
from cyclopts import App, CycloptsError, Parameter
from hypothesis import given, settings, strategies

from regard.cli.flags import file_settings, sections
from regard.errors import UserError
from regard.settings import from_dict, load_yaml, read, to_yaml


@dataclass(frozen=True)
class Engine:
    """An engine."""

    rate: float = 3e-4
    """How fast it turns."""
    fuel: Literal["coal", "wind"] = "coal"
    """What it burns; this description is so long that the comment in the file has to be wrapped onto a second line."""
    cylinders: int | None = None
    """How many."""
    loud: bool = False
    """Whether it is loud."""


@dataclass(frozen=True)
class Hold:
    """The cargo hold. No default is empty, so that the tests see whether a null or an empty list is lost."""

    on_board: tuple[str, ...] = ("bread", "salt")
    """The cargo."""
    shelves: tuple[int, ...] | None = (2, 3)
    """How much each shelf can carry."""
    place: Path = Path("below")
    """Where it is."""
    lock: str | None = "key"
    """How it is locked."""
    doors: Literal[1, 2] = 1
    """How many doors."""


@dataclass(frozen=True)
class Machine:
    """A machine."""

    name: str = "it's: #1"
    """Its name."""
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
    machine = make_app()(list(arguments), exit_on_error=False, print_error=False, result_action="return_value")
    assert isinstance(machine, Machine)
    return machine


def test_flags_override_the_file_and_the_file_overrides_defaults(tmp_path: Path) -> None:
    file = tmp_path / "machine.yaml"
    file.write_text("name: café\nengine:\n  rate: 1e-2\n  cylinders: 4\n  loud: true\n")
    machine = parse("--config", str(file), "--engine.cylinders", "6", "--engine.fuel", "wind")
    assert machine == Machine("café", Engine(0.01, "wind", 6, True))
    assert parse("--config", str(file), "--engine.no-loud").engine.loud is False
    assert parse() == Machine()


def test_a_written_configuration_is_equal_when_read(tmp_path: Path) -> None:
    file = tmp_path / "machine.yaml"
    for machine in (Machine(), Machine("- x\ty", Engine(1e-9, "wind", 3, True)), Machine("", Engine(2.0))):
        file.write_text(to_yaml(machine))
        assert read(file, Machine) == machine
    assert "  # How fast it turns." in to_yaml(machine).splitlines()


def test_the_help_of_inherited_settings_is_written() -> None:
    @dataclass(frozen=True)
    class Steam(Engine):
        """A steam engine."""

        rate: float = 0.1
        """How many strokes it makes."""

    lines = to_yaml(Steam()).splitlines()
    assert "# How many strokes it makes." in lines
    assert "# Whether it is loud." in lines


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("engine: {rat: 1}", "unknown setting engine.rat; did you mean engine.rate?"),
        ("motor: {}", "unknown setting motor; expected one of name, engine, hold"),
        ("engine: {cylinders: big}", "engine.cylinders: expected a whole number or null, got 'big'"),
        ("engine: {cylinders: 1.5}", "engine.cylinders: expected a whole number or null, got 1.5"),
        ("engine: {cylinders: true}", "engine.cylinders: expected a whole number or null, got True"),
        ("engine: {rate: fast}", "engine.rate: expected a number, got 'fast'"),
        ("engine: {fuel: gas}", "engine.fuel: expected coal or wind, got 'gas'"),
        ("engine: {loud: 1}", "engine.loud: expected true or false, got 1"),
        ("engine: {rate: [3e-4]}", "engine.rate: expected a number, got ['3e-4']"),
        ("engine: {rate: 1.2.3e4}", "engine.rate: expected a number, got '1.2.3e4'"),
        ("engine: {rate: 1" + "0" * 400 + "}", "engine.rate: expected a number, got 1000"),
        ("hold: {place: 3}", "hold.place: expected a path, got 3"),
        ("hold: {shelves: [5, x]}", "hold.shelves: expected a list (each a whole number) or null, got [5, 'x']"),
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
def test_a_wrong_file_gives_a_one_line_error(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "machine.yaml"
    file.write_text(text)
    with pytest.raises(UserError) as error:
        load_yaml(file, Machine)
    assert message in str(error.value)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_an_error_and_an_empty_one_is_not(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        load_yaml(tmp_path / "none.yaml", Machine)
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert load_yaml(tmp_path / "empty.yaml", Machine) == {}


def test_null_and_empty_lists_of_a_file_replace_defaults(tmp_path: Path) -> None:
    file = tmp_path / "machine.yaml"
    file.write_text("hold: {lock: null, shelves: null, on-board: [], place: a/b}")
    expected = Hold((), None, Path("a/b"), None)
    assert read(file, Machine).hold == expected
    assert parse("--config", str(file)).hold == expected
    assert parse("--config", str(file), "--hold.on-board", "x", "--hold.on-board", "y").hold.on_board == ("x", "y")
    file.write_text("hold: {lock: none}")
    assert parse("--config", str(file)).hold.lock == "none"


LARGEST = 2**63 - 1
"""The largest whole number that a setting can have."""

text = strategies.text(strategies.characters(codec="utf-8"), max_size=7)
holds = strategies.builds(
    Hold,
    on_board=strategies.lists(text, max_size=3).map(tuple),
    shelves=strategies.none() | strategies.lists(strategies.integers(-LARGEST, LARGEST), max_size=3).map(tuple),
    place=strategies.sampled_from([Path("a b"), Path("/é: #"), Path("3")]),
    lock=strategies.none() | text | strategies.sampled_from(["null", "3e-4", "no", "2026-01-01", "...", "a\nb"]),
)
floats = strategies.floats(allow_nan=False, allow_infinity=False)
engines = strategies.builds(Engine, rate=floats, loud=strategies.booleans())


@settings(max_examples=60, deadline=None, derandomize=True)
@given(machine=strategies.builds(Machine, name=text, engine=engines, hold=holds))
def test_any_configuration_is_equal_when_read(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_text(to_yaml(machine), encoding="utf-8")
    assert read(file, Machine) == machine
    assert parse("--config", str(file)) == machine


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--engine.rat", "1"], "Did you mean --engine.rate?"),
        (["--engine.cylinders", "big"], "--engine.cylinders: expected a whole number, got big"),
        (["--engine.fuel", "gas"], 'Choose from: "coal", "wind"'),
    ],
)
def test_wrong_flags_give_a_one_line_error(arguments: list[str], message: str) -> None:
    with pytest.raises((CycloptsError, UserError)) as error:
        parse(*arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value).strip()


def test_each_section_has_a_panel_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert sections(Machine) is Machine
    make_app()("--help", exit_on_error=False, result_action="return_value")
    printed = capsys.readouterr().out
    places = [printed.index(text) for text in ("--name", "─ Engine ─", "--engine.rate", "─ Hold ─")]
    assert places == sorted(places)
    assert "How fast it turns. [default: 0.0003]" in printed
    assert "--engine.no-loud" in printed
    assert parse("--engine.cylinders", "3").engine.cylinders == 3


def test_from_dict_accepts_dashes_in_names() -> None:
    assert from_dict(Machine, {"hold": {"on-board": ["x"]}}, "origin").hold.on_board == ("x",)
    with pytest.raises(UserError, match=r"^origin: unknown setting hold.on_bord; did you mean hold.on_board\?$"):
        from_dict(Machine, {"hold": {"on-bord": ["x"]}}, "origin")


def test_the_module_imports_no_large_package() -> None:
    code = "import sys, regard.settings; print([m for m in ('torch', 'numpy', 'yaml', 'rich') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert result.stdout == "[]\n"
