"""Simulated cohorts with the structure and the marginals of the target study, and their truth."""

from recart.data.simulate.design import StudyDesign
from recart.data.simulate.effects import MECHANISMS, Effects
from recart.data.simulate.outcomes import Outcomes
from recart.data.simulate.simulator import SimulatedCohort
from recart.data.simulate.truth import Truth

__all__ = ["MECHANISMS", "Effects", "Outcomes", "SimulatedCohort", "StudyDesign", "Truth"]
