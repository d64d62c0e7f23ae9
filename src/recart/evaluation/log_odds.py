"""Log-odds that stay finite."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from scipy.special import logit

__all__ = ["finite_log_odds"]

# a float32 sigmoid saturates at about 1e-7
_CLIP: Final = 1e-7


def finite_log_odds(probability: Any) -> Any:
    """Log-odds of each of them, of one that is saturated too."""
    return logit(np.clip(probability, _CLIP, 1 - _CLIP))
