"""One HTML page a patient, that needs nothing beside it: prediction or refusal, and the reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from recart.evaluation.claims import ClaimLevel
from recart.inference.records.further import further_outputs
from recart.inference.trust.conformal import set_words, told_set
from recart.report.canvas import svg
from recart.report.content import ReportFigure
from recart.report.numbers_in_words import number, thousands
from recart.report.patient_figures import (
    Composition,
    StatesBehind,
    cell_map,
    composition,
    drivers,
    states,
)
from recart.report.patient_words import TOLD, driver_words, flag_words, reason_words
from recart.report.wording import RUNGS
from recart.training.endpoints.survival import EVENT

__all__ = ["CellsOnMap", "patient_page"]

_STATES: Final = 9  # of the composition that are shown
_TOLD: Final = 8  # features that are told


@dataclass(frozen=True, kw_only=True)
class CellsOnMap:
    """Places of the reference points, of the patient's cells, and which of these are unlike it."""

    method: str
    reference: np.ndarray[Any, Any]
    cells: np.ndarray[Any, Any]
    strange: np.ndarray[Any, Any] | None


def patient_page(
    record: Mapping[str, Any],
    shown: Composition | None = None,
    cells: CellsOnMap | None = None,
    behind: StatesBehind | None = None,
    policy: Mapping[str, str] | None = None,
) -> str:
    """The page of one record.

    Parameters
    ----------
    record
        See `patient_records`.
    shown, cells, behind
        Composition, map and what cell states add; None for a head that has no cell states.
    policy
        What the codes of refusals mean.
    """
    environment = Environment(
        loader=PackageLoader("recart.report", "page_parts"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, thousands=thousands)
    figures = _figures(record, shown, cells, behind)
    return environment.get_template("patient.html.j2").render(
        record=record,
        prediction=record["prediction"],
        question=record["question"],
        sets=_sets(record),
        set_words=set_words((record["question"]["positive"], record["question"]["negative"])),
        flags=flag_words(record["flags"]),
        reasons=reason_words(record["reasons"], policy),
        told=_told(record),
        unnamed=record["drivers"] is not None and not record["drivers"]["groups"],
        further=_further(record),
        rung=_rung(record),
        figures=[
            {
                "title": figure.title,
                "caption": figure.caption,
                "alt": figure.alt,
                # drawn by matplotlib, which escapes every text it is given
                "svg": Markup(svg(figure.figure, f"patient{index}")),
            }
            for index, figure in enumerate(figures)
        ],
    )


def _rung(record: Mapping[str, Any]) -> str:
    """What may be claimed of the model, in words."""
    level = record["claim_level"]
    if level is None:
        return "not evaluated"
    question = record["question"]["positive"], record["question"]["negative"]
    if level == "L0" and set_words(question)[0] == EVENT:
        return "nothing is claimed of survival; the interval stands in the model's report"
    return RUNGS[ClaimLevel(int(level[1:]))]


def _sets(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Each conformal set in words; none where none was fitted."""
    if record["prediction"] is None:
        return []
    return [
        (level, told_set(own))
        for level, own in record["prediction"]["sets"].items()
        if own is not None
    ]


def _further(record: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, float, bool]]]]:
    """Of each outcome its rows: what, how much, whether that is a probability."""
    rows: dict[str, list[tuple[str, float, bool]]] = {}
    for own in further_outputs(record):
        rows.setdefault(own.of, []).append((own.text, own.value, own.kind != "risk"))
    leading = record["question"]["endpoint"] or "the same outcome"
    return [(of or leading, told) for of, told in rows.items()]


def _told(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    if record["drivers"] is None:
        return []
    return driver_words(record["drivers"]["features"], _TOLD)


def _figures(
    record: Mapping[str, Any],
    shown: Composition | None,
    cells: CellsOnMap | None,
    behind: StatesBehind | None,
) -> Sequence[ReportFigure]:
    figures, own, unit, question = [], record["drivers"], record["unit"], record["question"]
    if own is not None and own["groups"]:
        shown_groups = [row for row in own["groups"] if abs(row["contribution"]) >= TOLD]
        figures.append(
            ReportFigure(
                title="What drives the score",
                caption=f"What each group of features adds to the {own['scale']}, against the mean "
                f"training {unit}, whose score is {number(own['base'])}. Lines: standard "
                "deviation over models. Together with that score "
                + (
                    "the bars sum"
                    if not own["rest"]
                    else f"and {number(own['rest'])} that no feature accounts for, the bars sum"
                )
                + f" to {number(own['score'])}; what adds less than 0.01 is left out.",
                alt="Bars of the contribution of each group of features to the score; the numbers "
                "stand beside them.",
                figure=drivers(
                    shown_groups, question["positive"], question["negative"], own["scale"]
                ),
            )
        )
    if own is not None and behind is not None and behind.largest:
        most = behind.largest
        figures.append(
            ReportFigure(
                title="Cell states behind it",
                caption=f"What each cell state adds to the {own['scale']}, against the mean "
                f"training {unit}: by how many cells are in it, what they are like, and how they "
                f"move the mean of all cells. The largest {len(most)} of {len(behind.names)}; all "
                f"together add {number(float(behind.added.sum()))}. Mean over "
                f"{behind.members} of {record['model']['members']} models, strokes: their SD. "
                "States are the first model's; those of another count with the one that is most "
                "like them by its markers. Clones, covariates and finer states are of no one "
                "state.",
                alt="Bars of what the largest cell states add to the score; the numbers stand "
                "beside them.",
                figure=states(behind, question["positive"], question["negative"], own["scale"]),
            )
        )
    if shown is not None:
        count = min(_STATES, len(shown.names))
        figures.append(
            ReportFigure(
                title="Composition against the cohort",
                caption=f"Cell states of which this {unit}'s share departs most from the training "
                f"{unit}s': {count} of {len(shown.names)}. Bands: second lowest to second "
                f"highest of {shown.patients or 'these'}; strokes: their mean. {shown.outside} of "
                f"{len(shown.names)} states lie outside"
                + (
                    ""
                    if shown.by_chance is None
                    else f"; of one more {unit} like them {shown.by_chance:.0f} would"
                )
                + ". A state is named by the markers that are high in it against the other states.",
                alt=f"Share of each cell state of the {unit} beside the range of the training "
                f"{unit}s.",
                figure=composition(shown, count, unit),
            )
        )
    if cells is not None:
        figures.append(
            ReportFigure(
                title="Cells on the map of known states",
                caption=f"{len(cells.cells):,} of the {unit}'s cells, each between the cell "
                "states that are nearest to it. Grey: points drawn around the model's prototypes "
                "of cell states, which stand for the training cells; the model holds none of "
                f"these. The map is made of {cells.method} of the prototypes"
                + (": near is alike, distances mean little." if "UMAP" in cells.method else ".")
                + (
                    ""
                    if cells.strange is None
                    else f" {int(cells.strange.sum()):,} of those shown are unlike training."
                ),
                alt=f"Scatter of the {unit}'s cells over the reference points.",
                figure=cell_map(cells.reference, cells.cells, cells.strange, unit),
            )
        )
    return figures
