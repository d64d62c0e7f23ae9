"""Plain Python with tensors goes through JSON and safetensors and comes back as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from recart.inference.bundle.plain_tree import Shelf


def through_files(tree: Any, folder: Path) -> Any:
    shelf = Shelf()
    text = json.dumps(shelf.put(tree, "own"), allow_nan=False)
    save_file(shelf.tensors, folder / "t.safetensors")
    return Shelf.of(load_file(folder / "t.safetensors"), shelf.words).take(json.loads(text))


def same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        alike = one.dtype == other.dtype and one.shape == other.shape
        alike = alike and one.clone().stride() == other.stride()
        return alike and one.numpy().tobytes() == other.numpy().tobytes()
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) or (one != one and other != other)


WORDS = [f"word {i}" for i in range(12)]
TREES = {
    "tensors": {
        "a": torch.tensor([1.5, float("nan"), -0.0]),
        "b": [torch.zeros(0, 3, dtype=torch.float64), torch.tensor(7)],
        "c": torch.tensor([True, False]),
    },
    "a view": {"view": torch.arange(24.0).view(4, 6).T[1:3]},
    "numbers": {"x": 0.1 + 0.2, "y": float("inf"), "z": float("-inf"), "n": float("nan"), "i": 3},
    "tuples": [("a", 1), (), [(1, ("b",))], (torch.ones(2), None)],
    "keys": {1: "one", "1": "other", None: 2.5, (1, 2): True},
    "marks": {"$tensor": "own", "$pairs": [1], "plain": "$words"},
    "words": {"one": WORDS, "same": list(WORDS), "other": WORDS[::-1], "few": WORDS[:2]},
    "plain": [None, True, False, 0, "", {}, [], "\u00e4\u2028"],
}


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_it_comes_back_as_it_was(tree: Any, tmp_path: Path) -> None:
    assert same(tree, through_files(tree, tmp_path))


def test_a_view_brings_nothing_of_what_it_is_a_view_of(tmp_path: Path) -> None:
    shelf = Shelf()
    shelf.put(torch.arange(10_000.0)[3:5], "own")
    save_file(shelf.tensors, tmp_path / "t.safetensors")
    assert (tmp_path / "t.safetensors").stat().st_size < 300


def test_long_lists_of_words_are_kept_once() -> None:
    shelf = Shelf()
    skeleton = shelf.put([WORDS, list(WORDS)], "own")
    assert shelf.words == [WORDS]
    assert skeleton[0] == skeleton[1]


@pytest.mark.parametrize("own", [np.float64(1.5), Path("x"), {1}, np.zeros(2), b"bytes"])
def test_what_is_not_plain_is_refused(own: Any) -> None:
    with pytest.raises(TypeError, match=r"own\.key"):
        Shelf().put({"key": own}, "own")


@pytest.mark.parametrize("skeleton", [{"$other": 1}, {"$tuple": [], "beside": 1}])
def test_marks_that_are_not_written_are_refused(skeleton: Any) -> None:
    with pytest.raises(ValueError, match=r"\$"):
        Shelf().take(skeleton)
