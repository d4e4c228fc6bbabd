"""Optional packages: the error for a missing one names the extra to install; other import errors are not changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from regard.errors import UserError, require


@pytest.mark.parametrize("module", ["absent_package", "absent_package.part"])
def test_the_error_for_a_missing_package_names_the_extra(module: str) -> None:
    with pytest.raises(UserError) as error:
        require(module, "plot", "drawing")
    assert str(error.value) == f"drawing needs {module}: pip install 'regard[plot]'"


def test_an_import_error_inside_an_installed_package_is_raised_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "installed_package.py").write_text("import absent_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="absent_package"):
        require("installed_package", "plot", "drawing")
