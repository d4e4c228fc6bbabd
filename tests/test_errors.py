"""Optional packages: one that is missing is named with the extra that brings it; another error of importing is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from regard.errors import UserError, require


@pytest.mark.parametrize("module", ["absent_package", "absent_package.part"])
def test_a_missing_package_is_named_with_its_extra(module: str) -> None:
    with pytest.raises(UserError) as error:
        require(module, "plot", "drawing")
    assert str(error.value) == f"drawing needs {module}: pip install 'regard[plot]'"


def test_what_an_installed_package_lacks_is_not_its_absence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "installed_package.py").write_text("import absent_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="absent_package"):
        require("installed_package", "plot", "drawing")
