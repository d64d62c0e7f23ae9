"""Provenance: whose data each fitted part saw, and what came from outside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

from omegaconf import OmegaConf
from scipy.stats import norm

from recart.data.clone_features import CLONE_FEATURES
from recart.data.gene_panels import is_panel
from recart.evaluation.audit.brought_in import DECLARED, brought_in
from recart.evaluation.audit.check import Check
from recart.evaluation.audit.finding import Finding, Severity
from recart.evaluation.audit.refitted_heads import refitted_heads
from recart.training.member_file import ENCODER_LABELS

if TYPE_CHECKING:
    from recart.evaluation.launch import Evaluated
    from recart.training.run_directory import RunDirectory

__all__ = ["Provenance"]

_PARTS: Final = ("features", "encoder", "epoch", "head")
# What must not see the labels that an encoder saw.
_AFTER: Final = ("head", "calibration", "threshold")
# Embeddings of receptors with weights that were trained on receptors of somebody.
_PRETRAINED: Final = {
    "Sceptr": "SCEPTR, trained by its authors on public paired receptors",
}
# Genes that heads read by name, and on whose data they were chosen.
_MARKERS: Final = "data.marker_genes"
_MARKERS_FROM: Final = f"{_MARKERS}_from"
# sd of the cross-validated AUROC of a model that knows nothing, times the root of its patients:
# .17, .12 and .09 at 20, 40 and 80 patients
_NULL_SPREAD: Final = 0.77


@final
@dataclass(frozen=True, kw_only=True)
class Provenance(Check):
    """Names the patients that every fitted part saw, and everything whose data are not known.

    Attributes
    ----------
    whole_genome
        Genes of a cohort below which somebody chose them before recart read it.
    looks
        Configurations evaluated on the same cohort above which the choice among them counts.
    """

    whole_genome: int
    looks: int

    @property
    def name(self) -> str:
        """Name in tables."""
        return "provenance"

    @property
    def trains(self) -> bool:
        """It only reads."""
        return False

    def findings(self, evaluated: Evaluated, run: RunDirectory) -> Iterator[Finding]:
        """What was fitted on whom, what came from outside, how often folds were looked at."""
        yield self._fitted(evaluated)
        yield from refitted_heads(self.name, evaluated.assessment.permutation, run)
        yield from self._joint(evaluated)
        yield from self._receptors(evaluated)
        yield from self._genes(evaluated)
        yield from self._normalised(evaluated)
        yield from self._markers(evaluated)
        yield from self._bag_features(evaluated)
        yield from self._outside(evaluated)
        yield self._looks(evaluated)

    def _fitted(self, evaluated: Evaluated) -> Finding:
        saw: dict[str, set[str]] = {}
        silent = []
        for member in evaluated.members:
            lacking = [part for part in _PARTS if not member.fitted_on.get(part)]
            # the features name by themselves whom they were fitted on
            parts = {**member.fitted_on, "gene list": frozenset(member.features.spec.patients)}
            silent += [f"{part} of {member.name}" for part in lacking]
            for part, patients in parts.items():
                saw.setdefault(part, set()).update(patients & member.held_out)
        leaked = {part: sorted(patients) for part, patients in saw.items() if patients}
        if leaked:
            return self._finding(
                "A-PR-001",
                Severity.LEAK,
                "fitted on patients that are then predicted: "
                + ", ".join(f"{part} ({len(patients)})" for part, patients in leaked.items()),
                "train anew; these predictions are worth nothing",
                patients_by_part=leaked,
            )
        if silent:
            return self._finding(
                "A-PR-001",
                Severity.UNKNOWN,
                f"{len(silent)} fitted parts do not say whom they saw: {', '.join(silent[:5])}",
                "train anew with this version of recart",
            )
        return self._finding(
            "A-PR-001",
            Severity.PASSED,
            f"features, encoder, epoch and head of {len(evaluated.members)} members name the "
            "patients that they saw, and none saw one that it holds out",
            patients_seen_by_member={
                member.name: {part: len(seen) for part, seen in member.fitted_on.items()}
                for member in evaluated.members
            },
        )

    def _joint(self, evaluated: Evaluated) -> Iterator[Finding]:
        """Encoders that saw labels: no head may be fitted to a patient who lent one."""
        lent = {m.name: m.fitted_on.get(ENCODER_LABELS, frozenset()) for m in evaluated.members}
        if not any(lent.values()):
            return
        parts = [part for part in _AFTER if part in evaluated.members[0].fitted_on]
        twice = sorted(
            member.name
            for member in evaluated.members
            if any(member.fitted_on.get(part, frozenset()) & lent[member.name] for part in parts)
        )
        if twice:
            yield self._finding(
                "A-PR-007",
                Severity.WARNING,
                f"encoder and head of {len(twice)} members saw the same labels: inner folds and "
                "calibration are too good",
                "train anew with this version of recart",
                members=twice,
            )
            return
        yield self._finding(
            "A-PR-007",
            Severity.PASSED,
            "labels shaped the encoders (joint training), "
            f"{min(map(len, lent.values()))} to {max(map(len, lent.values()))} patients' a member; "
            "heads, inner folds and calibration had none of these patients",
            patients_by_member={name: len(own) for name, own in lent.items()},
        )

    def _receptors(self, evaluated: Evaluated) -> Iterator[Finding]:
        target = OmegaConf.select(evaluated.config, "data.receptors._target_")
        known = _PRETRAINED.get(str(target).rpartition(".")[2]) if target else None
        if known and evaluated.cohort.store.receptor_dim:
            yield self._finding(
                "A-PR-002",
                Severity.UNKNOWN,
                f"receptor encoder: {known}; whether receptors of this cohort are among them is "
                "not known. It saw no outcome",
                "data/receptors=physicochemical was trained on nobody",
                encoder=str(target),
            )

    def _genes(self, evaluated: Evaluated) -> Iterator[Finding]:
        genes = len(evaluated.cohort.store.genes)
        if 0 < genes < self.whole_genome and not _simulated(evaluated.config):
            yield self._finding(
                "A-PR-003",
                Severity.UNKNOWN,
                f"the cohort came with {genes} genes: somebody chose them, and on whose cells and "
                "with which knowledge of the outcome is not known",
                "give all genes that were counted; recart chooses among them on training patients",
                genes=genes,
            )

    def _normalised(self, evaluated: Evaluated) -> Iterator[Finding]:
        """Values that are no counts: what was done to them may have taken all patients together."""
        store = evaluated.cohort.store
        if store.normalised and store.genes:
            yield self._finding(
                "A-PR-009",
                Severity.UNKNOWN,
                "the cohort came with normalised values: whether each cell was scaled by itself, "
                "or with held-out patients, as by z-scores or the correction of batches, is not "
                "known",
                "give counts; recart scales each cell by itself",
            )

    def _markers(self, evaluated: Evaluated) -> Iterator[Finding]:
        """Genes that heads read by name: a list that knows the held-out outcomes is a leak."""
        asked = [str(own) for own in OmegaConf.select(evaluated.config, _MARKERS) or ()]
        panels = [own for own in asked if is_panel(own)]
        if panels:
            yield self._finding(
                "A-PR-008",
                Severity.PASSED,
                f"genes that heads read cell by cell: {', '.join(panels)}, which recart ships: "
                "written by hand from what is known of immune cells, fitted to no data"
                + (
                    "; most genes that the simulator moves are among them"
                    if _simulated(evaluated.config)
                    else ""
                ),
                panels=panels,
            )
        own = [name for name in asked if name not in panels]
        if own:
            declared = OmegaConf.select(evaluated.config, _MARKERS_FROM)
            yield self._finding(
                "A-PR-008",
                Severity.UNKNOWN if declared is None else Severity.PASSED,
                f"{len(own)} genes that heads read cell by cell were named by the user "
                f"({', '.join(own[:5])}{', ...' if len(own) > 5 else ''}), chosen on "
                + ("whose data is not known" if declared is None else f"{declared}"),
                ""
                if declared is not None
                else f"say so with {_MARKERS_FROM}; genes that were found on patients of this "
                "cohort tell the heads who responded: leave them out",
                genes=own,
            )

    def _bag_features(self, evaluated: Evaluated) -> Iterator[Finding]:
        own = {*CLONE_FEATURES, *evaluated.cohort.bags.reading.covariates}
        foreign = [str(c) for c in evaluated.cohort.extras.columns if c not in own]
        if foreign:
            yield self._finding(
                "A-PR-004",
                Severity.WARNING,
                f"{len(foreign)} bag features do not come from recart: {', '.join(foreign[:5])}; "
                "whether they were made inside each patient is not known",
                "a feature that is made of other patients, such as whether a clone of theirs is "
                "there, names patients; make it inside each patient or leave it out",
                features=foreign,
            )

    def _outside(self, evaluated: Evaluated) -> Iterator[Finding]:
        for place, value, declared in brought_in(
            OmegaConf.to_container(evaluated.config, resolve=True), ""
        ):
            yield self._finding(
                "A-PR-005",
                Severity.UNKNOWN if declared is None else Severity.PASSED,
                f"{place} was made elsewhere ({value}), on "
                + ("whose data is not known" if declared is None else f"{declared}"),
                f"say so with {DECLARED} beside it" if declared is None else "",
                place=place,
            )

    def _looks(self, evaluated: Evaluated) -> Finding:
        """How often the outer folds of this cohort were looked at, and what that is worth."""
        count = _configurations(getattr(evaluated, "ledger", None))
        if count is None:
            return self._finding(
                "A-PR-006",
                Severity.UNKNOWN,
                "no ledger says how many configurations were evaluated on this cohort",
            )
        n = evaluated.assessment.model.metrics.n_patients
        gain = best_of(count) * _NULL_SPREAD / n**0.5
        if count <= self.looks:
            return self._finding(
                "A-PR-006",
                Severity.PASSED,
                f"{count} configuration"
                + ("s were" if count > 1 else " was")
                + " evaluated on this "
                "cohort",
                configurations=count,
            )
        return self._finding(
            "A-PR-006",
            Severity.WARNING,
            f"{count} configurations were evaluated on this cohort: the best of as many models "
            f"that know nothing reads an AUROC of about {min(0.5 + gain, 1):.2f} with {n} patients",
            "choose on inner folds (train.py sweep=default), and report the first configuration or "
            "all of them",
            configurations=count,
            gain_by_chance=gain,
        )


def best_of(count: int) -> float:
    """Expected largest of `count` standard normal numbers (Blom's approximation)."""
    return 0.0 if count < 2 else float(norm.ppf((count - 0.375) / (count + 0.25)))


def _simulated(config: Any) -> bool:
    return ".simulate." in str(OmegaConf.select(config, "data.reader._target_"))


def _configurations(ledger: Any) -> int | None:
    """How many configurations a ledger counts: a number, or what it calls so."""
    if ledger is None or isinstance(ledger, bool):
        return None
    if isinstance(ledger, int):
        return ledger
    for name in ("configurations", "count", "looks"):
        value = getattr(ledger, name, None)
        if isinstance(value, int):
            return value
        if isinstance(value, Sequence) and not isinstance(value, str):
            return len(value)
    return None
