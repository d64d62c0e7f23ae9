"""Where exported files may stand: not over anything that is read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from recart.inference.export import check_apart
from recart.problems import InputError


def test_no_output_stands_in_the_place_of_what_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cells, patients = tmp_path / "x.h5mu", tmp_path / "x.patients.csv"
    for path in (cells, patients):
        path.write_text("mine")
    os.link(cells, "linked.h5ad")
    Path("named.h5mu").symlink_to(cells)
    for output in ("x.h5mu", "../" + tmp_path.name + "/x.h5mu", "linked.h5ad", "named.h5mu"):
        with pytest.raises(InputError, match=r"E-OUT-012.*is read.*another name"):
            check_apart(Path(output), [cells])
    with pytest.raises(InputError) as caught:
        check_apart(Path("x.h5mu"), [cells, patients])
    assert [own.file for own in caught.value.problems] == ["x.h5mu", "x.patients.csv"]
    with pytest.raises(InputError, match=r"file=x\.patients\.csv"):
        check_apart(Path("x.h5ad"), [cells, patients])  # the tables beside it
    check_apart(Path("x_embedded.h5mu"), [cells, patients])
    check_apart(Path("x.h5ad"), [cells, tmp_path / "lacking.csv"])
