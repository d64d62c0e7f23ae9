"""The model card: what the model is, what it is for, how it did and what to beware of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["CardSection", "card_markdown", "model_card"]

_SOURCE = "Sections after Mitchell et al., Model Cards for Model Reporting, FAT* 2019"
_TO_FILL = "AUTHOR TO FILL"


@dataclass(frozen=True, kw_only=True)
class CardSection:
    """One section: its title, and paragraphs."""

    title: str
    paragraphs: tuple[str, ...]


def model_card(known: Mapping[str, str], study: Mapping[str, str]) -> tuple[CardSection, ...]:
    """The card of a run.

    Parameters
    ----------
    known
        What the run knows, by filler.
    study
        What the authors say, by key of study.yaml.
    """

    def section(title: str, *parts: str) -> CardSection:
        return CardSection(title=title, paragraphs=tuple(part for part in parts if part))

    def author(key: str) -> str:
        return study.get(key) or f"{_TO_FILL} ({key} in study.yaml)."

    def run(*fillers: str) -> tuple[str, ...]:
        return tuple(known[name] for name in fillers if name in known)

    return (
        section("Model", *run("algorithm", "output", "software"), author("authors")),
        section(
            "Intended use",
            "For research. Not for decisions on the care of any patient.",
            author("intended_use"),
        ),
        section(
            "Factors",
            *run("clusters", "subgroups"),
            "Other products, protocols, panels, chemistries and tissues than those of the training "
            "cohort have not been looked at.",
        ),
        section("Measures", *run("measures", "confidence")),
        section(
            "Training and evaluation data",
            *(run("simulated_source") or (author("data_source"), *run("cohort_numbers"))),
            *run("splits", "missing_data"),
        ),
        section("Results", *run("claim", "performance", "comparison")),
        section(
            "Ethical considerations",
            "Single-cell data can identify a person: the files of a run hold pseudonyms and no "
            "sequences, a bundle neither, and the prepared cohort is as private as the data.",
            author("ethics"),
        ),
        section(
            "Caveats",
            *run("known_limits"),
            "The spread over members is how much models disagree, not how wrong a prediction may "
            "be.",
            study.get("limitations", ""),
        ),
    )


def card_markdown(card: tuple[CardSection, ...], title: str) -> str:
    """The card as a Markdown file."""
    lines = [f"# Model card: {title}", "", f"{_SOURCE}.", ""]
    for section in card:
        lines += [f"## {section.title}", ""]
        for paragraph in section.paragraphs:
            lines += [paragraph, ""]
    return "\n".join(lines)
