"""From a saved TOTALVI to a file of tensors that training can start from; a process of its own.

    python -m recart.inference.scvi.import_totalvi MODEL_FOLDER OUTPUT.safetensors

A saved TOTALVI is a pickle, which scvi-tools opens with whatever code it holds. Here it is opened
apart from any data, and may make nothing but tensors, arrays and tables; a file that asks for more
is refused. Tensors and names of genes and proteins go on. Names of batches, which may be those of
patients, stay behind.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from recart.data.names.gene_map import ensembl_id
from recart.inference.scvi.weights import Sizes, from_totalvi
from recart.problems import InputError, Problem

__all__ = ["convert"]

# what recart's encoder computes as well; TOTALVI's arguments, their defaults, and what they must be
_MUST = {
    "use_batch_norm": ("both", "none"),
    "use_layer_norm": ("none", "both"),
    "latent_distribution": ("normal", "normal"),
    "protein_dispersion": ("protein", "protein"),
    "log_variational": (True, True),
    "encode_covariates": (True, True),
    "use_observed_lib_size": (True, True),
}
# what a model that was trained by scvi-tools needs besides tensors: it keeps names and losses
_HARMLESS = (
    *("builtins.bytes", "builtins.dict", "builtins.slice"),
    "numpy.dtype",
    *("numpy.ndarray", "numpy._core.multiarray._reconstruct", "numpy._core.multiarray.scalar"),
    *("pandas.core.frame.DataFrame", "pandas.core.internals.managers.BlockManager"),
    *("pandas.core.indexes.base.Index", "pandas.core.indexes.base._new_Index"),
    *("pandas._libs.internals._unpickle_block", "pandas.core.indexes.range.RangeIndex"),
)
_DISPERSIONS = ("gene", "gene-batch")
_COVARIATES = ("n_extra_categorical_covs", "n_extra_continuous_covs")


def convert(folder: Path, output: Path) -> None:
    """Read `folder/model.pt` and write `output`.

    Raises
    ------
    InputError
        If the file is no TOTALVI, or asks for code; or if the model computes what recart's encoder
        does not: each setting, and what it must be.
    """
    from safetensors.torch import save_file

    saved = _opened(folder / "model.pt")
    attributes = saved["attr_dict"]
    settings = _settings(attributes["init_params_"])
    fields = attributes["registry_"]["field_registries"]
    problems = list(_problems(settings, fields, folder.name))
    if problems:
        raise InputError(problems)
    genes = [str(name) for name in saved["var_names"]]
    proteins = [str(name) for name in fields["proteins"]["state_registry"]["column_names"]]
    theirs = saved["model_state_dict"]
    sizes = Sizes(
        genes=len(genes),
        proteins=len(proteins),
        batches=int(fields["batch"]["summary_stats"]["n_batch"]),
        encoder_layers=int(settings.get("n_layers_encoder", 2)),
        decoder_layers=int(settings.get("n_layers_decoder", 1)),
        zero_inflated=settings.get("gene_likelihood", "nb") == "zinb",
    )
    about = {
        "genes": genes,
        "gene_ids": [ensembl_id(name) for name in genes],
        "proteins": proteins,
        "hidden": len(theirs["encoder.z_mean_encoder.weight"][0]),
        "latent": len(theirs["encoder.z_mean_encoder.weight"]),
        "encoder_layers": sizes.encoder_layers,
        "decoder_layers": sizes.decoder_layers,
        "source": f"TOTALVI of scvi-tools {attributes['registry_'].get('scvi_version', 'unknown')}",
    }
    save_file(from_totalvi(theirs, sizes), output, metadata={"recart": json.dumps(about)})


def _opened(path: Path) -> dict[str, Any]:
    """What was saved, made of tensors, arrays and tables alone."""
    import numpy as np
    import torch

    harmless: list[Any] = [_named(name) for name in _HARMLESS]
    harmless += [(_plain, "collections.defaultdict")]  # only plain dicts may be filled
    harmless += [getattr(np.dtypes, name) for name in np.dtypes.__all__]
    try:
        with torch.serialization.safe_globals(harmless):
            saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        saved["attr_dict"]["registry_"]["field_registries"]["proteins"]
    except Exception as error:
        problem = Problem(
            code="E-SCVI-001",
            file=path.name,
            what=f"no TOTALVI can be read from it ({type(error).__name__}): it is missing, of "
            "another model, or asks for more than tensors, arrays and tables",
            mend="give the folder that TOTALVI.save wrote",
        )
        raise InputError([problem]) from error
    return saved


def _plain(*_: Any) -> dict[Any, Any]:
    return {}


def _named(name: str) -> Any:
    module, _, part = name.rpartition(".")
    return getattr(import_module(module), part)


def _settings(kept: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the model, however deep they are kept."""
    settings: dict[str, Any] = {}
    for name, value in kept.items():
        if isinstance(value, Mapping):
            settings |= _settings(value)
        else:
            settings[name] = value
    return settings


def _problems(
    settings: Mapping[str, Any], fields: Mapping[str, Any], name: str
) -> Iterator[Problem]:
    def problem(what: str, mend: str) -> Problem:
        return Problem(code="E-SCVI-001", file=name, what=what, mend=mend)

    for own, (default, must) in _MUST.items():
        value = settings.get(own, default)
        if value != must:
            yield problem(
                f"{own} of the TOTALVI is {value!r}, and recart's encoder has no such part",
                f"train it with {own}={must!r}",
            )
    if settings.get("gene_dispersion", "gene") not in _DISPERSIONS:
        yield problem("gene_dispersion is not of genes", f"use one of {', '.join(_DISPERSIONS)}")
    for own in _COVARIATES:
        field = fields.get(own.removeprefix("n_"), {})
        if field.get("summary_stats", {}).get(own, 0):
            yield problem(
                f"the TOTALVI has {own.removeprefix('n_').replace('_', ' ')}",
                "train it with batch_key alone",
            )


def main() -> None:
    """Convert; exit status 2 with every problem where it can't be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="what TOTALVI.save wrote")
    parser.add_argument("output", type=Path, help="a file that ends in .safetensors")
    options = parser.parse_args()
    try:
        convert(options.folder, options.output)
    except InputError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
