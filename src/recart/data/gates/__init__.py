"""Flow cytometry: FCS files to gate fractions of samples, or to cells that have proteins only."""

from recart.data.gates.cell_gate import CellGate
from recart.data.gates.fcs_reader import FcsReader
from recart.data.gates.gate_fractions import PREFIX, GateFractions
from recart.data.gates.gated_reader import GatedReader

__all__ = ["PREFIX", "CellGate", "FcsReader", "GateFractions", "GatedReader"]
