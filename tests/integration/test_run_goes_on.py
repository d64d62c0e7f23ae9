"""What a run remembers of its cohort: it opens it unread, and embeds receptors as it did."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recart.config.compose import compose
from recart.data.cohort import Cohort
from recart.data.readers.h5mu import H5muReader
from recart.inference.launch import embed_run
from recart.problems import InputError
from recart.training.launch import train_run


def another_version(run: Path, fingerprint: str | None) -> None:
    about = json.loads((run / "run.json").read_text())
    about["receptors"] = fingerprint
    (run / "run.json").write_text(json.dumps(about))


def test_a_run_goes_on_without_reading_its_cohort(
    trained: Path, place: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(_: H5muReader) -> Cohort:
        raise AssertionError("the cohort was read")

    os.utime(place.cohort, ns=(10**18, 10**18))
    copy = place.folder / "goes_on"
    shutil.copytree(trained, copy)
    settings = place.settings("goes_on")
    train_run(compose(settings))  # reads it, as its time is another now
    monkeypatch.setattr(H5muReader, "read", never)
    train_run(compose([*settings, "data.in_memory=false"]))
    assert "made of these very files and settings" in capsys.readouterr().err
    with pytest.raises(AssertionError, match="was read"):
        train_run(compose([*settings, "data.reread=true"]))


def test_members_of_two_cohorts_do_not_meet_in_one_run(trained: Path, place: Any) -> None:
    copy = place.folder / "other_cohort"
    shutil.copytree(trained, copy)
    about = json.loads((copy / "cohort.json").read_text())
    (copy / "cohort.json").write_text(json.dumps({**about, "key": "0" * 16}))
    with pytest.raises(InputError, match=r"E-RUN-013.*0000000000000000"):
        train_run(compose(place.settings("other_cohort")))
    assert json.loads((copy / "cohort.json").read_text())["key"] == "0" * 16


def test_receptors_by_another_version_are_refused(
    trained: Path,
    place: Any,
    new_patients: Cohort,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    copy = place.folder / "other_receptors"
    shutil.copytree(trained, copy)
    file = place.write(new_patients, "new_patients.h5mu")
    output = tmp_path / "out.h5ad"
    embed = [f"run={copy}", f"data.path={file}", f"output={output}", "data.limits.min_cells=5"]
    another_version(copy, "f" * 64)
    with pytest.raises(InputError, match="E-RUN-012"):
        embed_run(compose(embed, "embed"))
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="E-RUN-012"):
        train_run(compose(place.settings("other_receptors")))

    # nothing is to be embedded
    without = place.write(replace(new_patients, chains=None), "without_receptors.h5mu")
    embed[1] = f"data.path={without}"
    embed_run(compose(embed, "embed"))
    assert output.exists()

    another_version(copy, None)
    embed[1] = f"data.path={file}"
    capsys.readouterr()
    embed_run(compose(embed, "embed"))
    assert "older than the record of its receptor embedding" in capsys.readouterr().err
