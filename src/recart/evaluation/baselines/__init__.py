"""Simple models that run in the same folds and stand in the same table as the real one."""

from recart.evaluation.baselines.baseline import Baseline
from recart.evaluation.baselines.clinical import ClinicalOnly
from recart.evaluation.baselines.cluster_means import ClusterMeans
from recart.evaluation.baselines.composition import Composition
from recart.evaluation.baselines.composition_with_clinical import CompositionWithClinical
from recart.evaluation.baselines.confounders import BatchOnly, QualityOnly
from recart.evaluation.baselines.pseudobulk import PseudobulkPCA
from recart.evaluation.baselines.runner import Fold, cross_validate_baselines

__all__ = [
    "Baseline",
    "BatchOnly",
    "ClinicalOnly",
    "ClusterMeans",
    "Composition",
    "CompositionWithClinical",
    "Fold",
    "PseudobulkPCA",
    "QualityOnly",
    "cross_validate_baselines",
]
