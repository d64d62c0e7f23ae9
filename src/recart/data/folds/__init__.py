"""Schemes that deal patients into folds: whom a model trains on, watches and never sees."""

from recart.data.folds.external import ExternalCohort
from recart.data.folds.fixed import FixedSplit
from recart.data.folds.leave_one_patient_out import LeaveOnePatientOut
from recart.data.folds.leave_one_site_out import LeaveOneSiteOut
from recart.data.folds.leave_pair_out import LeavePairOut
from recart.data.folds.patient_columns import PatientColumns
from recart.data.folds.scheme import FoldScheme
from recart.data.folds.stratified import StratifiedPatientKFold
from recart.data.folds.table import FoldTable

__all__ = [
    "ExternalCohort",
    "FixedSplit",
    "FoldScheme",
    "FoldTable",
    "LeaveOnePatientOut",
    "LeaveOneSiteOut",
    "LeavePairOut",
    "PatientColumns",
    "StratifiedPatientKFold",
]
