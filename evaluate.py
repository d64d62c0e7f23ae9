"""Evaluate a run on its held-out patients, or a finished model on labelled patients of elsewhere.

    python evaluate.py run=outputs/<run> [audit=full] [bundle=<folder>]
    python evaluate.py run=<run or bundle> data.path=<file> data.endpoint=<column> output=<folder>

The only door to held-out patients. Writes a report, what `embed.py` refuses by, and with `bundle`
a model that may leave the lab; on labelled patients of elsewhere nothing is fitted.
"""

from __future__ import annotations

from pathlib import Path

import hydra
from omegaconf import DictConfig

from recart.config.command import run_command


def evaluate(config: DictConfig) -> Path:
    """Evaluate; returns the page of the report."""
    from recart.config.build import build, build_each
    from recart.config.check import asks_outside, check_config
    from recart.config.schema import EvaluateConfig
    from recart.report.study import find_study, read_study
    from recart.training.run_directory import RunDirectory

    if asks_outside(config):
        from recart.report.outside_page import report_outside

        return report_outside(config)
    check_config(config, EvaluateConfig)
    run = RunDirectory.open(Path(config.run))  # before imports that take seconds
    study = read_study(find_study(run.path, config.study))
    from recart.evaluation.launch import evaluate_run
    from recart.inference.bundle.write import check_target, write_bundle
    from recart.inference.trust.fit import fit_trust, write_trust
    from recart.report.run_report import write_run_report
    from recart.report.tracked_evaluation import track_evaluation
    from recart.sweep.page import refresh_page
    from recart.training.progress import say

    if config.bundle is not None:
        check_target(Path(config.bundle))
    checks, policy = build_each(config.audit), build(config.refusal)
    permuted = config.permutations, config.permute_within, config.permutation_repeats
    with run.locked():
        evaluated = evaluate_run(run, checks, *permuted, config.place_columns, config.subgroups)
        write_trust(fit_trust(evaluated, policy), run)
        page = write_run_report(evaluated, run, study)
        track_evaluation(evaluated, run)
    say(f"audit: {evaluated.audit.summary}")
    say(f"{(claim := evaluated.assessment.claim).headline}. {claim.text}")
    say(f"report: {page}")
    refresh_page(run.path, say)
    if config.bundle is not None:
        digest = write_bundle(evaluated, run, Path(config.bundle), force=config.bundle_force)
        say(f"bundle: {config.bundle}, SHA-256 {digest}")
    return page


@hydra.main(config_path="configs", config_name="evaluate", version_base="1.3")
def main(config: DictConfig) -> None:
    """Entry point."""
    evaluate(config)


if __name__ == "__main__":
    run_command(main, "evaluate")
