"""Plain Python with tensors in it, as JSON and a dict of tensors, and back without a difference.

JSON knows neither tensors nor tuples, no infinity and no keys that are not text. A mapping with one
key that begins with `$` stands for each of them, and for a long list of words, which is kept once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from torch import Tensor

__all__ = ["Shelf"]

_TENSOR: Final = "$tensor"
_STRIDED: Final = "$strided"
_WORDS: Final = "$words"
_TUPLE: Final = "$tuple"
_FLOAT: Final = "$float"
_PAIRS: Final = "$pairs"
_PLAIN: Final = (str, int, float, bool, type(None))
_LONG: Final = 8  # words of a list from which on it is kept once


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """Where the tensors and long lists of words of trees stand.

    `tensors` by name; `words` are lists of text, none of them twice.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    words: list[list[str]] = field(default_factory=list)
    _row: dict[tuple[str, ...], int] = field(default_factory=dict)

    def put(self, tree: Any, place: str) -> Any:
        """What JSON can hold of a tree; its tensors get names that begin with `place`.

        Raises
        ------
        TypeError
            If the tree holds anything but tensors, numbers, text, lists, tuples, dicts and None.
        """
        if isinstance(tree, Tensor):
            # a copy of its own: a view would bring all of what it is a view of
            own = tree.detach().cpu().clone()
            self.tensors[place] = own.contiguous()
            # sums over a transposed matrix may round another way
            return {_TENSOR: place} if own.is_contiguous() else {_STRIDED: [place, *own.stride()]}
        if type(tree) in (list, tuple):
            return self._put_sequence(tree, place)
        if isinstance(tree, dict):
            if all(type(key) is str and not key.startswith("$") for key in tree):
                return {key: self.put(own, f"{place}.{key}") for key, own in tree.items()}
            pairs = enumerate(tree.items())
            return {
                _PAIRS: [
                    [self.put(key, place), self.put(own, f"{place}.{i}")] for i, (key, own) in pairs
                ]
            }
        if type(tree) not in _PLAIN:  # exact types: numpy's float64 is a float
            raise TypeError(f"{place} is a {type(tree).__name__}: a bundle holds plain Python")
        if type(tree) is float and not math.isfinite(tree):
            return {_FLOAT: str(tree)}
        return tree

    def take(self, skeleton: Any) -> Any:
        """The tree of which `put` gave the skeleton.

        Raises
        ------
        KeyError, IndexError
            If a tensor or a list that the skeleton names is not there.
        ValueError
            If the skeleton has a mark that `put` does not write.
        """
        if isinstance(skeleton, list):
            return [self.take(entry) for entry in skeleton]
        if not isinstance(skeleton, dict):
            return skeleton
        marks = [key for key in skeleton if str(key).startswith("$")]
        if not marks:
            return {key: self.take(entry) for key, entry in skeleton.items()}
        if len(skeleton) != 1:
            raise ValueError(f"{marks[0]} stands beside other keys")
        ((mark, own),) = skeleton.items()
        if mark == _TENSOR:
            return self.tensors[own]
        if mark == _STRIDED:
            found = self.tensors[own[0]]
            return found.new_empty_strided(found.shape, tuple(own[1:])).copy_(found)
        if mark == _WORDS:
            return list(self.words[own])
        if mark == _TUPLE:
            return tuple(self.take(entry) for entry in own)
        if mark == _FLOAT:
            return float(own)
        if mark == _PAIRS:
            return {self.take(key): self.take(entry) for key, entry in own}
        raise ValueError(f"{mark} is no mark")

    def _put_sequence(self, own: Sequence[Any], place: str) -> Any:
        if type(own) is list and len(own) >= _LONG and all(type(word) is str for word in own):
            row = self._row.setdefault(tuple(own), len(self.words))
            if row == len(self.words):
                self.words.append(own)
            return {_WORDS: row}
        entries = [self.put(entry, f"{place}.{i}") for i, entry in enumerate(own)]
        return entries if type(own) is list else {_TUPLE: entries}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], words: list[list[str]]) -> Shelf:
        """A shelf that was filled before."""
        return cls(tensors=dict(tensors), words=words)
