"""Surface proteins: totalVI's mixture of background and foreground, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from recart.contracts import CellBatch
from recart.losses.divergences import kl_normal, log_standard_lognormal
from recart.losses.protein_mixture import fused_log_nb_mixture
from recart.models.decoder import Decoded
from recart.models.noise import Noise

__all__ = ["ProteinWeights"]

_EXPRESSED_PRIOR = 1e-3  # scvi-tools' weak pull towards expressed proteins


@dataclass(frozen=True, kw_only=True)
class ProteinWeights:
    """The weights of the protein likelihood besides the decoder's.

    Inverse dispersion, staining efficiency of each batch, and the prior of the log background.
    """

    log_theta_m1a: Float[Tensor, "m 1 a"]
    log_efficiency_mea: Float[Tensor, "m e a"]
    prior_mean_mea: Float[Tensor, "m e a"]
    prior_log_scale_mea: Float[Tensor, "m e a"]

    def rates(
        self,
        decoded: Decoded,
        log_background_mba: Float[Tensor, "m b a"],
        batch_mbe: Float[Tensor, "m b e"],
    ) -> tuple[Float[Tensor, "m b a"], Float[Tensor, "m b a"]]:
        """Background and foreground rates of every protein, scaled by the batch's efficiency."""
        background = torch.exp(log_background_mba + torch.bmm(batch_mbe, self.log_efficiency_mea))
        return background, background * decoded.foreground_mba

    def terms(
        self,
        decoded: Decoded,
        batch: CellBatch,
        batch_mbe: Float[Tensor, "m b e"],
        noise: Noise | None,
    ) -> dict[str, Float[Tensor, "m b"]]:
        """Negative log likelihood, and divergence and priors of the background, of each cell."""
        if batch.y_mba.shape[-1] == 0:
            zero = batch.weight_mb.new_zeros(batch.weight_mb.shape)
            return {"protein": zero, "kl_background": zero}
        mean, scale = decoded.background_mean_mba, decoded.background_scale_mba
        log_background = mean if noise is None else mean + noise.normal(mean) * scale
        background, foreground = self.rates(decoded, log_background, batch_mbe)
        log_prob = fused_log_nb_mixture(
            batch.y_mba, background, foreground, self.log_theta_m1a.exp(), decoded.mixing_mba
        )
        prior_mean = torch.bmm(batch_mbe, self.prior_mean_mea)
        prior_scale = torch.bmm(batch_mbe, self.prior_log_scale_mea.exp())
        kl = kl_normal(mean, scale, prior_mean, prior_scale.clamp_min(1e-6))
        log_efficiency = torch.bmm(batch_mbe, self.log_efficiency_mea)
        expressed = logsigmoid(decoded.mixing_mba)
        return {
            "protein": -torch.where(batch.y_mask_mba, log_prob, 0.0).sum(-1),
            "kl_background": torch.where(batch.y_mask_mba, kl, 0.0).sum(-1)
            - log_standard_lognormal(log_efficiency).sum(-1)
            - _EXPRESSED_PRIOR * expressed.sum(-1),
        }
