"""Answers about the cohort: where it comes from, who is in it, what was measured and is missing."""

from __future__ import annotations

from recart.report.facts import RunFacts
from recart.report.fillers.filler import class_name, with_censored
from recart.report.numbers_in_words import number_range

__all__ = [
    "admission",
    "classes",
    "cohort_numbers",
    "flow",
    "initial_predictors",
    "judged_predictors",
    "missing_data",
    "predictors",
    "preparation",
    "pretrained_inputs",
    "products",
    "question",
    "simulated_source",
    "sites",
]


def simulated_source(facts: RunFacts) -> str | None:
    """Source of a simulated cohort; that of a real one is the authors' to tell."""
    if not facts.cohort.simulated:
        return None
    return (
        "Simulated by recart's simulator; no patient stands behind it. Settings and seed stand in "
        f"the run's config.yaml. {cohort_numbers(facts)}"
    )


def cohort_numbers(facts: RunFacts) -> str:
    """Size and digest of the cohort."""
    metrics = facts.assessment.model.metrics
    labelled = ""
    if metrics.n_bags != metrics.n_patients:
        labelled = f" with {metrics.n_bags} labelled {facts.question.unit}s"
    negative = metrics.n_bags - metrics.n_positive
    return (
        f"{metrics.n_patients} patients{labelled}: {metrics.n_positive} "
        f"{facts.question.positive} and {negative} {facts.question.negative}"
        f"{with_censored(facts)}; "
        f"{facts.cohort.samples} samples. Digest of the prepared cohort: {facts.cohort.key}."
    )


def question(facts: RunFacts) -> str:
    """What was asked."""
    own = facts.question
    how = "on an outside cohort" if facts.fit.elsewhere else "by internal validation"
    return (
        f"{own.endpoint}: {own.positive} against {own.negative}, one prediction a {own.unit}, "
        f"from {own.decision}. A model is developed, and evaluated {how}."
    )


def sites(facts: RunFacts) -> str | None:
    """Number of sites, where a column names them."""
    count = facts.cohort.levels.get("site")
    return None if count is None else f"The tables name {count} site{'s' if count != 1 else ''}."


def products(facts: RunFacts) -> str | None:
    """Number of products, where a column names them."""
    count = facts.cohort.levels.get("product")
    return None if count is None else f"The tables name {count} CAR T products."


def admission(facts: RunFacts) -> str:
    """Which samples enter a prediction."""
    data = facts.config.data
    text = f"Into a prediction enters: {facts.question.decision}."
    if data.exclude:
        text += f" Set aside: {facts.question.endpoint} of {', '.join(map(str, data.exclude))}."
    return text


def classes(facts: RunFacts) -> str:
    """Classes of the endpoint."""
    own = facts.question
    return f"Column {own.endpoint}: {own.positive} is positive, {own.negative} negative."


def flow(facts: RunFacts) -> str:
    """The flow of patients, in words."""
    metrics = facts.assessment.model.metrics
    steps = "; ".join(
        f"{step.name}: {step.patients:,} patients, {step.samples:,} samples, {step.cells:,} cells"
        for step in facts.flow
        if step.patients is not None and step.samples is not None and step.cells is not None
    )
    times = [own.name for own in facts.outcomes if own.kind == "survival"]
    followed = f"the times of {' and '.join(times)} tell" if times else "is not among the data"
    return (
        f"{steps}. {metrics.n_positive} of {metrics.n_bags} {facts.question.unit}s have the "
        "outcome. Each exclusion stands with its reason in the flow of the report. How long "
        f"patients were followed {followed}."
    )


def preparation(facts: RunFacts) -> str:
    """From files to cells."""
    values = "log-normalised values" if facts.config.data.normalised else "raw counts"
    own = facts.cohort
    parts = [f"RNA as {values}"] * bool(own.genes)
    parts += [f"{own.proteins} surface proteins as raw counts"] * bool(own.proteins)
    parts += [f"T cell receptors as vectors of {own.receptor_dim} numbers"] * bool(own.receptor_dim)
    text = (
        f"Every value was checked in full before anything was fitted ({values}); what failed was "
        "left out by fixed rules that see no outcome, and counted. Into the model enter "
        f"{', '.join(parts)}"
    )
    if facts.config.data.car_genes:
        text += "; the CAR transcript is kept out of the model's input"
    return f"{text}. The same rules hold for every patient."


def initial_predictors(facts: RunFacts) -> str:
    """Candidates, before any choice."""
    if not facts.cohort.genes:
        return f"All {facts.cohort.proteins} proteins that were read. {predictors(facts)}"
    return (
        f"All {facts.cohort.genes:,} genes that were read, less those whose names match "
        f"{', '.join(map(str, facts.config.features.exclude)) or 'nothing'} (they tell patients "
        f"apart, not states); of these the {number_range(facts.fit.genes)} most variable, chosen "
        "on the training patients of each fold without the outcome. "
        f"{predictors(facts)}"
    )


def predictors(facts: RunFacts) -> str:
    """What is measured of each cell, and which covariates the head reads beside."""
    rna = "log-normalised RNA" if facts.config.data.normalised else "RNA counts"
    parts = [rna] * bool(facts.cohort.genes)
    parts += [f"{facts.cohort.proteins} surface proteins"] * bool(facts.cohort.proteins)
    parts += ["T cell receptor sequences"] * bool(facts.cohort.receptor_dim)
    own = covariates(facts)
    beside = (
        f"The head also reads covariates of the patient or sample: {', '.join(own)}."
        if own
        else "No clinical variable enters the model."
    )
    return f"Of each cell: {', '.join(parts)}. {beside}"


def covariates(facts: RunFacts) -> list[str]:
    """Columns that the head reads, gates of flow cytometry among them."""
    return [str(name) for name in facts.config.data.get("covariates") or ()]


def judged_predictors(facts: RunFacts) -> str:
    """Predictors that need judgement: none of sequencing; of covariates the run can not know."""
    own = covariates(facts)
    if not own:
        return (
            "No predictor needs anybody's judgement: all are counts or sequences from sequencing."
        )
    return (
        "Counts and sequences from sequencing need nobody's judgement. Who measured the covariates "
        f"({', '.join(own)}), and with what judgement, the run does not know."
    )


def missing_data(facts: RunFacts) -> str:
    """What is missing by modality, what is masked, and what is filled in."""
    own = facts.cohort
    parts = []
    if own.proteins:
        parts.append(f"{own.samples - own.with_protein} of {own.samples} samples lack proteins")
    if own.receptor_dim:
        parts.append(f"{own.samples - own.with_receptor} of {own.samples} lack receptors")
    said = f"{'; '.join(parts)}. " if parts else ""
    filled = [
        "proteins that a sample's panel lacks, for the head" * bool(own.proteins),
        "genes that new data lack, for encoder and head" * bool(own.genes),
    ]
    text = (
        f"{said}Where the encoder is trained, what was not measured is masked: it enters neither "
        "the encoder nor its objective. "
    )
    if any(filled):
        text += (
            "Filled in from the rest of the cell, as each member's decoder expects it, are "
            f"{' and '.join(filter(None, filled))}. "
        )
    if covariates(facts):
        text += (
            "A covariate that a patient lacks counts as the mean of the training patients, and "
            "that it is missing as a feature. "
        )
    return (
        f"{text}Patients without a value of the endpoint are not evaluated; their number stands in "
        "the flow."
    )


def pretrained_inputs(facts: RunFacts) -> str:
    """Whether outputs of other trained models enter."""
    name = class_name(facts.config.data.receptors)
    if not facts.cohort.receptor_dim:
        return "No output of another trained model enters."
    if name == "Sceptr":
        return (
            "Receptors enter as embeddings of SCEPTR, trained on public unlabelled receptor "
            "sequences. Whether receptors of this cohort were among them is unknown. Nothing else "
            "comes from a trained model."
        )
    return f"No output of another trained model enters; receptors are embedded by {name}."
