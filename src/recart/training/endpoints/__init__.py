"""Endpoints: what is predicted, how a head is fitted to it, and what it says of a bag."""

from recart.training.endpoints.binary import BinaryEndpoint
from recart.training.endpoints.endpoint import Endpoint, Solution, endpoint_of
from recart.training.endpoints.ordinal import OrdinalEndpoint
from recart.training.endpoints.several import SeveralEndpoints
from recart.training.endpoints.survival import SurvivalEndpoint

__all__ = [
    "BinaryEndpoint",
    "Endpoint",
    "OrdinalEndpoint",
    "SeveralEndpoints",
    "Solution",
    "SurvivalEndpoint",
    "endpoint_of",
]
