"""Checkpoints: whole or not there, plain content, no code run on reading."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recart.problems import InputError
from recart.training.checkpoints import load_checkpoint, save_checkpoint

CONTENT: dict[str, Any] = {
    "weights": {"a": torch.arange(6, dtype=torch.float64).view(2, 3), "flag": torch.tensor([True])},
    "names": ["x", "y"],
    "nested": {"loss": 0.25, "epoch": 3, "none": None},
}


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "member.ckpt"
    save_checkpoint(CONTENT, path)
    content = load_checkpoint(path)
    assert torch.equal(content["weights"]["a"], CONTENT["weights"]["a"])
    assert content["weights"]["a"].dtype == torch.float64
    assert content["names"] == ["x", "y"]
    assert content["nested"] == CONTENT["nested"]
    plain = torch.load(path, weights_only=True)  # so others can read it as safely
    assert plain["schema"] == 5
    assert [p.name for p in tmp_path.iterdir()] == ["member.ckpt"]


@pytest.mark.parametrize(
    "stage", ["checkpoints.torch.save", "atomic_files.os.fsync", "atomic_files.os.replace"]
)
def test_a_failure_while_saving_keeps_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    path = tmp_path / "member.ckpt"
    save_checkpoint(CONTENT, path)
    before = path.read_bytes()

    def fail(*arguments: Any) -> None:
        if "torch" in stage:  # half of it is on the disk already
            arguments[1].write(b"half")
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(f"recart.training.{stage}", fail)
        with pytest.raises(OSError, match="no space"):
            save_checkpoint({"names": ["new"]}, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["member.ckpt"]


class Exploit:
    """Runs a command when it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.witness}",)


@pytest.mark.parametrize("form", ["torch", "pickle"])
def test_malicious_files_are_refused_and_not_run(tmp_path: Path, form: str) -> None:
    path, witness = tmp_path / "member.ckpt", tmp_path / "ran"
    content = {"schema": 2, "weights": Exploit(witness)}
    if form == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match="E-CKPT-001") as caught:
        load_checkpoint(path)
    assert not witness.exists()
    assert str(tmp_path) not in str(caught.value)  # the name, not the path
    if form == "torch":
        torch.load(path, weights_only=False)  # the probe itself works
    else:
        pickle.loads(path.read_bytes())
    assert witness.exists()


@pytest.mark.parametrize("damage", ["empty", "truncated", "text", "no schema", "no dict"])
def test_damaged_files(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "member.ckpt"
    save_checkpoint(CONTENT, path)
    if damage in ("empty", "truncated"):
        path.write_bytes(path.read_bytes()[: 0 if damage == "empty" else 700])
    elif damage == "text":
        path.write_text("not a checkpoint")
    else:
        torch.save({"weights": 1} if damage == "no schema" else [1, 2], path)
    with pytest.raises(InputError, match="E-CKPT-001"):
        load_checkpoint(path)


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    """However it came about: made here, or read back and made whole."""
    again, path = tmp_path / "again.ckpt", tmp_path / "member.ckpt"
    rows = [{"loss": 0.1 * n, "".join(["ep", "och"]): n} for n in range(3)]
    weights = torch.arange(6.0)
    save_checkpoint({"rows": rows, "weights": weights[2:4], "name": "epoch"}, path)
    read = load_checkpoint(path)
    fresh = [{"loss": 0.1 * n, "epoch": n} for n in (1, 2)]
    save_checkpoint(
        {"rows": [read["rows"][0], *fresh], "weights": read["weights"], "name": read["name"]}, again
    )
    assert again.read_bytes() == path.read_bytes()


def test_other_layouts_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "member.ckpt"
    torch.save({"schema": 99}, path)
    with pytest.raises(InputError, match=r"E-CKPT-002.*99"):
        load_checkpoint(path)
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "none.ckpt")


@pytest.mark.parametrize("value", [np.float64(0.5), np.arange(3), Path("x")], ids=type)
def test_what_could_not_be_read_back_is_refused_at_once(tmp_path: Path, value: object) -> None:
    """Not hours later, when the run is evaluated; and the last good file stays."""
    path = tmp_path / "member.ckpt"
    save_checkpoint(CONTENT, path)
    with pytest.raises(TypeError, match="plain"):
        save_checkpoint({"value": value}, path)
    assert load_checkpoint(path)["names"] == ["x", "y"]
    assert [p.name for p in tmp_path.iterdir()] == ["member.ckpt"]
