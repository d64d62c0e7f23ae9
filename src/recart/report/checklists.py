"""Reporting checklists: every item is filled by the run, taken from study.yaml or left open.

The items are data (`items/*.yaml`). `auto` names the filler whose text answers an item wholly,
`study` the key of study.yaml that does, `knows` the filler whose text is only a part of the answer:
what the run knows stands beside such an item, and the item remains the author's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from typing import Final

__all__ = ["CHECKLISTS", "Checklist", "FilledChecklist", "FilledItem", "Status", "asked_of_study"]

CHECKLISTS: Final = ("dome", "tripod_ai")


class Status(StrEnum):
    """Who answers an item."""

    AUTO = "auto"
    STUDY = "from study.yaml"
    AUTHOR = "AUTHOR TO FILL"


@dataclass(frozen=True, kw_only=True)
class Item:
    """One item: its number or field, its topic, what it asks for, and where answers come from."""

    id: str
    asks: str
    topic: str = ""
    auto: str = ""
    study: str = ""
    knows: str = ""


@dataclass(frozen=True, kw_only=True)
class FilledItem:
    """An item with its answer.

    Attributes
    ----------
    id, topic, asks
        The item.
    status
        Who answered it.
    text
        The answer; empty where it is the author's to give.
    knows
        What the run knows of an item that it can't answer wholly.
    key
        Key of study.yaml that would answer it; empty where none does.
    """

    id: str
    topic: str
    asks: str
    status: Status
    text: str
    knows: str = ""
    key: str = ""


@dataclass(frozen=True, kw_only=True)
class FilledChecklist:
    """A checklist with its answers."""

    name: str
    source: str
    items: tuple[FilledItem, ...]

    def count(self, status: Status) -> int:
        """Items with this status."""
        return sum(item.status == status for item in self.items)


@dataclass(frozen=True, kw_only=True)
class Checklist:
    """A checklist as its file gives it."""

    name: str
    source: str
    items: tuple[Item, ...]

    @classmethod
    def load(cls, name: str) -> Checklist:
        """One of `CHECKLISTS`."""
        import yaml

        text = resources.files("recart.report").joinpath(f"items/{name}.yaml").read_text("utf-8")
        content = yaml.safe_load(text)
        return cls(
            name=content["name"],
            source=content["source"],
            items=tuple(Item(**item) for item in content["items"]),
        )

    def fill(self, known: Mapping[str, str], study: Mapping[str, str]) -> FilledChecklist:
        """Answer what can be answered.

        Parameters
        ----------
        known
            Texts by filler; those that had nothing to say are not in it.
        study
            What the authors say, by key.
        """
        return FilledChecklist(
            name=self.name,
            source=self.source,
            items=tuple(_filled(item, known, study) for item in self.items),
        )


def asked_of_study(checklists: Iterable[Checklist]) -> dict[str, tuple[str, ...]]:
    """The items that ask for each key of study.yaml."""
    wanted: dict[str, tuple[str, ...]] = {}
    for checklist in checklists:
        for item in checklist.items:
            if item.study:
                place = f"{checklist.name} {item.id}"
                wanted[item.study] = (*wanted.get(item.study, ()), place)
    return wanted


def _filled(item: Item, known: Mapping[str, str], study: Mapping[str, str]) -> FilledItem:
    status, text, knows = Status.AUTHOR, "", known.get(item.knows, "")
    if item.auto in known:
        status, text, knows = Status.AUTO, known[item.auto], ""
    elif item.study in study:
        status, text = Status.STUDY, study[item.study]
    return FilledItem(
        id=item.id,
        topic=item.topic,
        asks=item.asks,
        status=status,
        text=text,
        knows=knows,
        key=item.study,
    )
