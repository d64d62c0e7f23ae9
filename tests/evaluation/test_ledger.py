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
from recart.evaluation.cell_sketch import DIGITS, SIZE
from recart.evaluation.ledger import Looks, ledger_path, look
from recart.training.run_directory import RunDirectory

NAMES = [f"P-{i:03d}" for i in range(20)]


def patients(*codes: int) -> list[str]:
    """Sketches of patients who share no cell."""
    return ["".join(f"{100 * code + i:0{DIGITS}x}" for i in range(SIZE)) for code in codes]


OURS, OTHERS = patients(*range(20)), patients(*range(20, 40))


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
    assert look(tmp_path, make_run(), split(), OURS) == Looks(looks=1, configurations=1)
    assert look(tmp_path, make_run(), split(), OURS) == Looks(looks=2, configurations=1)
    # elsewhere, on other devices, by another name: the same
    moved = make_run("elsewhere", trainer={"devices": 2}, logger={"csv": None}, name="x")
    assert look(tmp_path, moved, split(), OURS) == Looks(looks=3, configurations=1)
    other = make_run("other", model={"latent": 20})
    assert look(tmp_path, other, split(), OURS) == Looks(looks=4, configurations=2)
    # the same settings in other folds look anew
    found = look(tmp_path, make_run(), split(1), OURS)
    assert found == Looks(looks=5, configurations=3)
    assert found.words == (
        "This cohort's held-out patients have been looked at 5 times, by 3 configurations."
    )
    assert look(tmp_path, make_run(), split(), OTHERS).words == (
        "This cohort's held-out patients have been looked at once, by 1 configuration."
    )


def test_it_holds_times_and_hashes_for_its_owner_only(make_run: Any, tmp_path: Path) -> None:
    look(tmp_path, make_run("SECRET"), split(), OURS)
    path = ledger_path(tmp_path)
    content = path.read_text()
    for secret in ("SECRET", str(tmp_path), "P-", "latent"):
        assert secret not in content
    entry = json.loads(content)
    assert set(entry) == {"time", "run", "configuration", "split", "patients"}
    assert all(len(entry[name]) == 16 for name in ("run", "configuration", "split"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_look_counts_for_whom_it_was_at(make_run: Any, tmp_path: Path) -> None:
    def looks(*codes: int) -> int:
        return look(tmp_path, make_run(), split(), patients(*codes)).looks

    assert looks(*range(20)) == 1
    assert looks(3, 4, 50) == 2  # most of these were among the twenty
    assert looks(3, 51, 52) == 1  # one of them was, twice
    assert looks(*range(20)) == 2  # hardly any of the twenty was in the two after
    assert looks(60, 61) == 1


def test_damage_never_makes_looks_fewer(make_run: Any, tmp_path: Path) -> None:
    look(tmp_path, make_run(), split(), OURS)
    look(tmp_path, make_run(), split(), OURS)
    path = ledger_path(tmp_path)
    path.write_bytes(path.read_bytes()[:-300])  # the last line was cut short
    assert look(tmp_path, make_run(), split(), OURS) == Looks(looks=3, configurations=2)
    assert look(tmp_path, make_run(), split(), OURS) == Looks(looks=4, configurations=2)


def test_looks_at_once_are_all_counted(make_run: Any, tmp_path: Path) -> None:
    run, own = make_run(), split()
    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(lambda _: look(tmp_path, run, own, OURS).looks, range(40)))
    assert sorted(counts) == list(range(1, 41))
