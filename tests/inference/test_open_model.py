"""Which model is opened, and where a bundle may be written: told before any work."""

from __future__ import annotations

from pathlib import Path

import pytest

from recart.inference.bundle.write import check_target
from recart.inference.launch import open_model
from recart.problems import InputError


@pytest.mark.parametrize("named", [(None, None), ("outputs/run", "released")])
def test_one_of_run_and_bundle_is_named(named: tuple[str | None, str | None]) -> None:
    with pytest.raises(InputError, match=r"E-CONFIG-006.*run=outputs/<run>, or bundle="):
        open_model(*named)


def test_what_is_no_bundle_or_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"E-BUNDLE-001.*no manifest\.json"):
        open_model(None, str(tmp_path))
    with pytest.raises(InputError, match="E-RUN-001"):
        open_model(str(tmp_path), None)


def test_a_bundle_takes_nobodys_place(tmp_path: Path) -> None:
    check_target(tmp_path / "released")
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in (".", "file", "link"):
        with pytest.raises(InputError, match="E-BUNDLE-006"):
            check_target(tmp_path / name)
    with pytest.raises(InputError, match=r"E-BUNDLE-007.*mkdir -p"):
        check_target(tmp_path / "not" / "there")
