"""What is measured of endpoints that are not yes or no: levels, and times with censoring."""

from recart.evaluation.outcomes.face import CENSORED, face_of, on_the_face, target_columns
from recart.evaluation.outcomes.measured import Measured, OutcomeAssessment, outcomes_of
from recart.evaluation.outcomes.words import claim_of, endpoint_words

__all__ = [
    "CENSORED",
    "Measured",
    "OutcomeAssessment",
    "claim_of",
    "endpoint_words",
    "face_of",
    "on_the_face",
    "outcomes_of",
    "target_columns",
]
