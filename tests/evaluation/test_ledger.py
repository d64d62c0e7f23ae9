"""The ledger counts looks and what was looked with, and holds hashes only."""

from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from recart.data.folds import StratifiedPatientKFold
from recart.data.split import Split
from recart.evaluation.ledger import Looks, ledger_path, look
from recart.training.run_directory import RunDirectory

NAMES = [f"P-{i:03d}" for i in range(20)]


def split(seed: int = 0) -> Split:
    labels = np.arange(20) % 2
    return StratifiedPatientKFold(4, 2, 0.2).split(np.arange(20), labels, seed, NAMES)


@pytest.fixture
def make_run(tmp_path: Path) -> Any:
    def make(folder: str = "mine", **settings: Any) -> RunDirectory:
        config = {"model": {"latent": 10}, "paths": {"run": str(tmp_path / folder)}, **settings}
        return RunDirectory(tmp_path / folder, OmegaConf.create(config), {"seed": 0})

    return make


def test_the_same_run_again_is_a_look_and_no_new_configuration(
    make_run: Any, tmp_path: Path
) -> None:
    assert look(tmp_path, "abc", make_run(), split()) == Looks(looks=1, configurations=1)
    assert look(tmp_path, "abc", make_run(), split()) == Looks(looks=2, configurations=1)
    # elsewhere, on other devices, by another name: the same
    moved = make_run("elsewhere", trainer={"devices": 2}, logger={"csv": None}, name="x")
    assert look(tmp_path, "abc", moved, split()) == Looks(looks=3, configurations=1)
    other = make_run("other", model={"latent": 20})
    assert look(tmp_path, "abc", other, split()) == Looks(looks=4, configurations=2)
    # the same settings in other folds look anew
    found = look(tmp_path, "abc", make_run(), split(1))
    assert found == Looks(looks=5, configurations=3)
    assert found.words == (
        "This cohort's held-out patients have been looked at 5 times, by 3 configurations."
    )
    assert look(tmp_path, "another", make_run(), split()).words == (
        "This cohort's held-out patients have been looked at once, by 1 configuration."
    )


def test_it_holds_times_and_hashes_for_its_owner_only(make_run: Any, tmp_path: Path) -> None:
    look(tmp_path, "abc", make_run("SECRET"), split())
    path = ledger_path(tmp_path, "abc")
    content = path.read_text()
    for secret in ("SECRET", str(tmp_path), "P-", "latent"):
        assert secret not in content
    entry = json.loads(content)
    assert set(entry) == {"time", "run", "configuration", "split"}
    assert all(len(entry[name]) == 16 for name in ("run", "configuration", "split"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_damage_never_makes_looks_fewer(make_run: Any, tmp_path: Path) -> None:
    look(tmp_path, "abc", make_run(), split())
    look(tmp_path, "abc", make_run(), split())
    path = ledger_path(tmp_path, "abc")
    path.write_bytes(path.read_bytes()[:-30])  # the last line was cut short
    assert look(tmp_path, "abc", make_run(), split()) == Looks(looks=3, configurations=2)
    assert look(tmp_path, "abc", make_run(), split()) == Looks(looks=4, configurations=2)


def test_looks_at_once_are_all_counted(make_run: Any, tmp_path: Path) -> None:
    run, own = make_run(), split()
    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(lambda _: look(tmp_path, "abc", run, own).looks, range(40)))
    assert sorted(counts) == list(range(1, 41))
