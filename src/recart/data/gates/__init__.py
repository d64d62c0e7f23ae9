"""Flow cytometry: FCS files to gate fractions, which are covariates of samples."""

from recart.data.gates.gate_fractions import GateFractions
from recart.data.gates.gated_reader import GatedReader

__all__ = ["GateFractions", "GatedReader"]
