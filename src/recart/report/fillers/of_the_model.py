"""Answers about the model: how it is built, fitted, held back and given away."""

from __future__ import annotations

from collections import Counter

from recart.config.build import build
from recart.evaluation.predictions import THRESHOLD
from recart.report.facts import RunFacts
from recart.report.fillers.filler import class_name
from recart.report.numbers_in_words import number_range
from recart.training.heads import HeadWords
from recart.training.training_time import TrainingTime

__all__ = [
    "algorithm",
    "amount_of_training",
    "computing_predictions",
    "configuration_file",
    "execution_time",
    "features",
    "fitting",
    "imbalance",
    "model_building",
    "output",
    "parameters",
    "poor_input",
    "predictor_handling",
    "readable_parts",
    "regularisation",
    "software",
    "specification",
    "updating",
]


def algorithm(facts: RunFacts) -> str:
    """Class of the algorithm."""
    likelihood = f", RNA likelihood {class_name(facts.config.model.rna)}"
    rna = likelihood if facts.cohort.genes else ""
    return (
        f"A variational autoencoder of single cells after totalVI ({class_name(facts.config.model)}"
        f", encoder {class_name(facts.config.model.encoder)}{rna}), trained {_by_outcome(facts)}; "
        f"the cells of a {facts.question.unit} are then pooled and scored by a head "
        f"({class_name(facts.config.head)}) that is fitted to the outcome."
    )


def parameters(facts: RunFacts) -> str:
    """Number of parameters, and how settings were chosen."""
    text = f"{number_range(facts.fit.encoder_parameters)} weights of the encoder in each member"
    if facts.fit.head_features is not None:
        text += f", {number_range(facts.fit.head_features)} coefficients of the head"
    if facts.own_values:
        return f"{text}. {_searched(facts)}"
    return (
        f"{text}. Settings stand in config.yaml and were the same in all folds; what was chosen by "
        "the data is told under fitting."
    )


def features(facts: RunFacts) -> str:
    """Number of features and how they were chosen."""
    own = facts.cohort
    parts = [
        f"{number_range(facts.fit.genes)} genes of {own.genes:,}, chosen in each fold by "
        "variability on its training patients alone, without the outcome"
    ] * bool(own.genes)
    parts += [f"all {own.proteins} proteins"] * bool(own.proteins)
    parts += [f"a receptor vector of {own.receptor_dim} numbers"] * bool(own.receptor_dim)
    return f"{'; '.join(parts)}."


def fitting(facts: RunFacts) -> str:
    """How over- and underfitting were kept in check."""
    text = (
        "There are far more parameters than patients. The encoder is fitted to cells "
        f"{_by_outcome(facts)}; its epoch was chosen on inner validation patients "
        f"(kept: epoch {number_range(facts.fit.epochs)})"
    )
    if facts.fit.strengths:
        chosen = ", ".join(f"{strength:g}" for strength in facts.fit.strengths)
        text += f"; the strength of the head's penalty on inner folds (chosen: {chosen})"
    text += "; calibration and threshold on inner folds"
    return f"{text}. Every figure comes from patients that no fitted part of the model has seen."


def regularisation(facts: RunFacts) -> str:
    """What holds the model back."""
    model, training, words = facts.config.model, facts.config.training, _words(facts)
    return (
        f"Encoder: a prior on {model.latent} latent dimensions, dropout {model.dropout:g}, weight "
        f"decay {training.weight_decay:g}, early stopping after {training.patience} epochs without "
        f"gain. Head: {words.penalty if words else f'see {class_name(facts.config.head)}'}."
    ) + (f" {_searched(facts)}" if facts.own_values else "")


def model_building(facts: RunFacts) -> str:
    """All steps of building the model."""
    return f"{algorithm(facts)} {fitting(facts)} Validation: {facts.fit.split}, by patient."


def predictor_handling(facts: RunFacts) -> str | None:
    """How predictors enter, where the head says so."""
    words = _words(facts)
    if words is None:
        return None
    counts = "as log(1 + x / (1 + m)), m the mean over what was measured of the cell"
    values = "as given" if facts.config.data.normalised else counts
    what = "RNA enters" if facts.cohort.genes else "Proteins enter"
    return (
        f"{what} the encoder {values}. In the head, {words.predictors}. No continuous "
        "predictor was cut into classes."
    )


def imbalance(facts: RunFacts) -> str:
    """Methods against imbalance: none."""
    share = facts.assessment.model.metrics.prevalence
    return (
        f"None: {share:.0%} of the {facts.question.unit}s are positive, and no class was weighted "
        "or sampled again. Folds are stratified by class where the scheme says so."
    )


def output(facts: RunFacts) -> str:
    """What comes out, and the threshold."""
    own = facts.question
    return (
        f"A probability of {own.positive} for each {own.unit} (classification). Each member calls "
        f"{own.positive} above a threshold that it chose, like the calibration of its "
        f"probabilities, on inner folds of its development patients ({THRESHOLD:g} where these "
        "were too few); the AUROC needs no threshold."
    )


def updating(facts: RunFacts) -> str:
    """Updating of the model: none."""
    del facts
    return (
        "None: nothing was recalibrated or updated after the evaluation. What calibrates a member "
        "was fitted on inner folds before it."
    )


def computing_predictions(facts: RunFacts) -> str:
    """How held-out predictions were computed."""
    return (
        f"Each of the {facts.fit.members} members, loaded from its file, scored the patients that "
        "it had not seen; the log-odds were averaged over repeats. For new patients embed.py does "
        "the same with all members."
    )


def readable_parts(facts: RunFacts) -> str:
    """What can be read from the model."""
    words = _words(facts)
    told = f" The head ({class_name(facts.config.head)}) {words.reading}." if words else ""
    return f"The encoder is a black box.{told}"


def _words(facts: RunFacts) -> HeadWords | None:
    """What the head says of itself."""
    words: HeadWords | None = build(facts.config.head).words
    return words


def _by_outcome(facts: RunFacts) -> str:
    """Whether outcomes entered the encoder."""
    joint = facts.config.training.get("joint")
    if joint is None:
        return "without the outcome"
    return f"to the outcome of {joint.lent:.0%} of the training patients too, whom the head lacks"


def amount_of_training(facts: RunFacts) -> str:
    """How much was trained."""
    return (
        f"{facts.fit.members} members of at most {facts.config.training.epochs} epochs; the time "
        "of all of them was not recorded."
    )


def execution_time(facts: RunFacts) -> str | None:
    """How long training took and on what, where all of it was measured."""
    if not facts.times or sum(own.members for own in facts.times) < facts.fit.members:
        return None  # a start that was killed left no time
    places = dict.fromkeys(map(_place, facts.times))
    starts = f", in {len(facts.times)} starts" if len(facts.times) > 1 else ""
    return (
        f"Training took {_duration(sum(own.seconds for own in facts.times))} on the clock{starts}: "
        f"{facts.fit.members} members of at most {facts.config.training.epochs} epochs, "
        f"{'; '.join(places)}. Reading the cohort and the evaluation are not counted."
    )


def _place(own: TrainingTime) -> str:
    """What one start trained on."""
    if own.elsewhere:
        return f"on other machines through {own.elsewhere}"
    cores = f"{own.cores} CPU core{'s' * (own.cores != 1)}"
    cards = ", ".join(f"{n} x {name}" for name, n in Counter(own.gpus).items())
    return f"on {cards} with {cores}" if cards else f"on {cores}, without a GPU"


def _duration(seconds: float) -> str:
    """`45 s`, `12.5 min`, `3.2 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def configuration_file(facts: RunFacts) -> str:
    """Where the settings stand."""
    return (
        "Every setting stands in the run's config.yaml (digest "
        f"{facts.digests['configuration']}), the seed with it."
    ) + (f" {_searched(facts)}" if facts.own_values else "")


def _searched(facts: RunFacts) -> str:
    """What a sweep chose for folds, where the run is one of a sweep's."""
    keys: dict[str, set[str]] = {}
    for values in facts.own_values.values():
        for key, value in values.items():
            shown = class_name(value) if isinstance(value, dict) else f"{value}"
            keys.setdefault(key, set()).add(shown)
    told = "; ".join(f"{key}: {', '.join(sorted(own))}" for key, own in sorted(keys.items()))
    return (
        "Settings of config.yaml were searched in each fold on inner folds of its development "
        "patients, so that members differ. Besides its values were chosen (configurations.json): "
        f"{told}."
    )


def software(facts: RunFacts) -> str:
    """Software and licence."""
    commit = facts.versions.get("commit")
    text = f"recart {facts.versions.get('recart')}" + (f", commit {commit[:12]}" if commit else "")
    return (
        f"{text}, open source under BSD-3-Clause; Python {facts.versions.get('python')}, PyTorch "
        f"{facts.versions.get('torch')}. All versions stand in versions.json."
    )


def specification(facts: RunFacts) -> str:
    """What is needed to predict for new patients."""
    return (
        f"The run's folder holds the whole model: {facts.fit.members} members as files of plain "
        f"tensors, config.yaml (digest {facts.digests['configuration']}) and versions.json; "
        "embed.py predicts with them. Who may have the folder is the authors' to say."
    )


def poor_input(facts: RunFacts) -> str:
    """What happens with poor or missing input."""
    del facts
    return (
        "embed.py checks new input as training input was checked, refuses what is no count or no "
        "cell, masks what was not measured, fills in genes and proteins that the model reads as "
        "its decoder expects them, and flags patients with few cells, or few of these genes and "
        "proteins."
    )
