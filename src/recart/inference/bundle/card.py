"""What a reader of a bundle sees first: the model card, its figures, and the note on use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

__all__ = ["FIGURES", "USE", "bundle_card", "use_note"]

USE: Final = "research use only: not for decisions on patients"

# of all figures of a report those that show no single patient and no cells
FIGURES: Final = (
    "auroc_beside_the_baselines.png",
    "roc_curve.png",
    "calibration_in_two_numbers.png",
    "calibration_curve.png",
    "decision_curve.png",
)
_ALT: Final = {name: name.removesuffix(".png").replace("_", " ").capitalize() for name in FIGURES}


def bundle_card(card: str, claim: Mapping[str, Any], figures: Sequence[str]) -> str:
    """The card of the run, after the claim and how to use the bundle; then its figures."""
    title, _, rest = card.partition("\n")
    lines = [
        title,
        "",
        *_marked(claim),
        f"**{claim['level']}: {claim['headline']}.** {claim['text']}",
        "",
        f"{USE.capitalize()}. A probability is that of {claim['yes']}, against {claim['no']}.",
        "",
        "## How to use it",
        "",
        "```python",
        "import recart",
        "",
        'model = recart.load("<this folder>")',
        "model.predict(mudata)  # a table, one row a patient",
        "```",
        "",
        "On the command line: `python embed.py bundle=<this folder> data.path=new.h5mu "
        "output=out.h5mu`. Nothing is fetched, and no file of the training cohort is needed.",
        "",
        "Whoever has labelled patients can measure what it is worth there, without fitting "
        "anything: `python evaluate.py run=<this folder> data.path=own.h5mu "
        "data.endpoint=<column of the outcome> output=<folder to be made>`.",
        "",
        "What the bundle does not hold: cells, clones, receptor sequences; ids and pseudonyms of "
        "patients, samples and batches. Names of batches being gone, samples from a batch of the "
        "training cohort are treated as of a new one.",
        "",
        "What it holds of single training patients, without names and in no order of theirs: "
        "held-out scores with the outcome, for prediction sets, and keyed fingerprints, by which "
        "somebody who has a patient's counts can find out that the patient was in training. What "
        "it says of patients tells that as well: on simulated cohorts of 40 patients three in four "
        "pairs of a training patient and another were told apart by the confidence of the answer, "
        "the response being known "
        "(`benchmarks/membership.py` of recart; not measured on this model).",
        "",
        rest.strip(),
        "",
    ]
    if figures:
        lines += ["## Figures", "", "All are of held-out patients.", ""]
        for name in figures:
            lines += [f"![{_ALT[name]}](figures/{name})", ""]
    return "\n".join(lines)


def use_note(claim: Mapping[str, Any]) -> str:
    """Who may do what with the bundle."""
    return "\n".join(
        [
            "# Use",
            "",
            *_marked(claim),
            "For research. Not a medical device, and not for decisions on the care of any patient.",
            "",
            "recart, which reads this folder, is under the BSD 3-Clause License. The weights "
            "belong to those who trained them: they say under which terms they may be used, and "
            "answer for the consent of the patients that they learned from.",
            "",
            "Weights can tell something of the patients that a model was trained on, though none "
            "is named in them. They are not anonymous; give them to nobody who would not keep them "
            "like data of patients.",
            "",
        ]
    )


def _marked(claim: Mapping[str, Any]) -> list[str]:
    return [f"> **{claim['watermark']}**", ""] if claim["watermark"] else []
