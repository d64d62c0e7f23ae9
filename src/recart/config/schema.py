"""The root of every configuration: its keys and types. A key that is not here is an error.

Fixed keys stand here as dataclasses. Components (`Any`) are nodes with a `_target_`; the signature
of the class they name is their schema, checked by `recart.config.check`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from omegaconf import MISSING

__all__ = [
    "SCHEMAS",
    "DataConfig",
    "EmbedConfig",
    "EvaluateConfig",
    "PathsConfig",
    "TrainConfig",
    "register",
]


@dataclass
class DataConfig:
    """A cohort: where it lies, what is predicted, what may enter a prediction.

    Attributes
    ----------
    path
        File, folder or sample sheet; the reader says which. None for a simulated cohort.
    endpoint
        Column of the outcome.
    positive, negative
        Values of the endpoint that mean 1 and 0; None recognises R/NR, yes/no, 1/0 and the like.
    exclude
        Values of the endpoint that belong to neither class, such as NE.
    unit
        What has one label: `patient` or `sample`.
    decision_day
        Day from infusion, the last whose samples may enter a prediction; None admits all.
    timepoints, tissues
        The only ones that may enter a prediction; None admits all.
    car_genes
        Genes of the CAR construct, kept out of the encoder.
    covariates
        Columns of patients or samples that the head may read; `column=word` is 1 for this word.
    marker_genes
        Genes whose expression in each cell heads may read as they are; `panel:immune` stands for
        those of a panel that the cohort has.
    marker_genes_from
        On whose data the genes that are named there were chosen, for the audit; None: not known.
    stages
        Time points in order; empty orders them by the days of the samples.
    normalised
        True where RNA holds log-normalised values instead of counts.
    in_memory
        Whether the prepared cohort's counts are read into memory (True), or read from disk while
        they are needed (False); `auto` reads them where they take less than half of what is free.
    reread
        Read and check the input again although it is unchanged since it was prepared.
    columns
        Column names by role, for the reader.
    limits, reader, gates, receptors, folds
        Nodes: thresholds of the checks, reader, gates of flow cytometry, receptor embedding, fold
        scheme.
    outcome
        Node: what kind of endpoint it is; the group `endpoint` chooses it.
    """

    path: str | None = MISSING
    endpoint: str = MISSING
    positive: list[Any] | None = None
    negative: list[Any] | None = None
    exclude: list[Any] = field(default_factory=list)
    unit: str = "patient"
    decision_day: float | None = None
    timepoints: list[str] | None = None
    tissues: list[str] | None = None
    car_genes: list[str] = field(default_factory=list)
    covariates: list[str] = field(default_factory=list)
    marker_genes: list[str] = field(default_factory=list)
    marker_genes_from: str | None = None
    stages: list[str] = field(default_factory=list)
    normalised: bool = False
    in_memory: bool | str = "auto"
    reread: bool = False
    columns: Any = None
    limits: Any = None
    reader: Any = MISSING
    gates: Any = None
    receptors: Any = None
    folds: Any = None
    outcome: Any = "${oc.select:endpoint,null}"


@dataclass
class PathsConfig:
    """Folders.

    Attributes
    ----------
    run
        The run's own folder. Naming the folder of a run that was interrupted continues it.
    sweep
        Holds the runs of a multirun, numbered.
    prepared
        Prepared cohorts, the pseudonym key and the receptor cache. As private as the data.
    encoders
        Folder of a run whose encoders are taken as they are, for another head; None trains them.
    """

    run: str = MISSING
    sweep: str = MISSING
    prepared: str = MISSING
    encoders: str | None = None


@dataclass
class TrainConfig:
    """What `train.py` reads.

    Attributes
    ----------
    seed
        Every random choice follows from it.
    name
        Stands in the name of the run's folder; never sent to a tracker.
    members_per_job
        Members trained in one stack, a job; None trains all in one; `auto` takes one on a CPU, and
        as many as memory holds on a GPU.
    endpoint
        Node: what is predicted: binary, ordinal, survival, or several of them.
    executor
        Node: where jobs run if there are several; a GPU's always run in this process.
    callbacks, logger, baselines
        Name -> node; null leaves one out.
    sweep
        Node: which configurations are tried on inner folds; None trains the one that stands here.
    """

    seed: int = MISSING
    name: str = MISSING
    members_per_job: int | str | None = "auto"
    data: DataConfig = field(default_factory=DataConfig)
    endpoint: Any = None
    features: Any = MISSING
    model: Any = MISSING
    head: Any = MISSING
    training: Any = MISSING
    trainer: Any = MISSING
    executor: Any = MISSING
    callbacks: dict[str, Any] = field(default_factory=dict)
    logger: dict[str, Any] = field(default_factory=dict)
    baselines: dict[str, Any] = field(default_factory=dict)
    sweep: Any = None
    paths: PathsConfig = field(default_factory=PathsConfig)


@dataclass
class EvaluateConfig:
    """What `evaluate.py` reads; everything else stands in the folder of the run or bundle.

    Attributes
    ----------
    run
        Folder of the run; of patients of another place, also that of a bundle.
    study
        File of what only the authors know; None: study.yaml in the run's folder, where it is there.
    audit
        Name -> node of a check; null leaves one out.
    refusal
        Node: when new patients get no prediction.
    permutations
        Permutations of the labels that the heads are refitted to; 0 leaves the test out; None
        takes 199, or 39 where a refit of the head takes seconds.
    permutation_repeats
        Repeats of the cross-validation that they are refitted in, the first ones; None
        takes four, or one where a refit takes seconds.
    permute_within
        Column of samples or patients within whose values labels are permuted; None: among all.
    place_columns
        Columns that name places: patients that one of them sets apart are an outside cohort.
    subgroups
        Columns of samples or patients within whose values the model is measured, too.
    bundle
        Folder of a bundle to be written; None writes none.
    bundle_force
        Write it although the audit found a leak, or did not run or end, with a watermark.
    data
        Patients of another place, to be evaluated by the model as it is; where neither path nor
        endpoint nor output has a value, the run's own held-out patients are.
    output
        Folder that is made for what is said of patients of another place.
    seed
        Of the resamples of these patients, and of a simulated cohort.
    """

    run: str = MISSING
    study: str | None = None
    audit: dict[str, Any] = field(default_factory=dict)
    refusal: Any = MISSING
    permutations: int | None = None
    permutation_repeats: int | None = None
    permute_within: str | None = None
    place_columns: list[str] = MISSING
    subgroups: list[str] = MISSING
    bundle: str | None = None
    bundle_force: bool = False
    data: DataConfig = field(default_factory=DataConfig)
    output: str | None = None
    seed: int = MISSING


@dataclass
class EmbedConfig:
    """What `embed.py` reads; model, features and receptor embedding stand in run or bundle.

    Attributes
    ----------
    run, bundle
        Folder of the run, or of a bundle; one of the two.
    output
        File of the cell embeddings, `.h5ad` or `.h5mu`; tables are written beside it.
    outputs
        What is written of each cell: `latents`, `denoised_rna`, `denoised_protein`,
        `protein_foreground_prob`, `imputed_protein`, `attribution`.
    reports
        What is written of each patient: `json`, `html`, `fhir`.
    subjects
        What patients are called there: `pseudonym`, `own` (as in the data), or a CSV of names in
        the data and identifiers.
    subject_system
        URI of the naming system of these identifiers, for FHIR; None names none.
    seed
        Of a simulated cohort.
    refusal
        Node: when new patients get no prediction; None: as the run was evaluated.
    data
        The new patients. No endpoint is needed.
    """

    run: str | None = None
    bundle: str | None = None
    output: str = MISSING
    outputs: list[str] = MISSING
    reports: list[str] = MISSING
    subjects: str = MISSING
    subject_system: str | None = None
    seed: int = MISSING
    refusal: Any = None
    data: DataConfig = field(default_factory=DataConfig)


SCHEMAS: Final = {"train": TrainConfig, "evaluate": EvaluateConfig, "embed": EmbedConfig}
"""The root of each entry point's configuration."""


def register() -> None:
    """Make the schemas known to Hydra, as `train_schema`, `evaluate_schema`, `embed_schema`."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    for entry, schema in SCHEMAS.items():
        store.store(name=f"{entry}_schema", node=schema)
