"""Why a run may not leave the lab: a leak, no audit, or one that did not look everywhere."""

from __future__ import annotations

from typing import Final

from omegaconf import OmegaConf

from recart.config.build import build_each
from recart.config.compose import config_folder
from recart.evaluation.audit.audit import Audit
from recart.problems import Problem

__all__ = ["obstacles", "watermark"]

_FORCE: Final = "bundle_force=true writes it all the same, with a watermark on all that it gives"
# a check that stopped, and one that said nothing
_UNFINISHED: Final = frozenset({"A-AUDIT-001", "A-AUDIT-002"})


def obstacles(audit: Audit) -> list[Problem]:
    """One problem each; none where every check of `configs/audit/quick.yaml` ran and found no leak.

    What such a check warns of, or can not know, is no obstacle: it stands in the bundle's claim.
    """
    if not audit.findings:
        what = "the run was not audited in this evaluation, which is not a pass"
        mend = f"leave audit=none out, or use audit=full. {_FORCE}"
        return [Problem(code="E-BUNDLE-009", what=what, mend=mend)]
    leaks = [
        Problem(
            code="E-BUNDLE-008",
            what=f"no bundle is written: the audit found a leak, {leak.code} ({leak.check}): "
            f"{leak.what}",
            mend=f"{leak.mend or 'mend the leak and train again'}. {_FORCE}",
        )
        for leak in audit.leaks
    ]
    unfinished = [
        Problem(
            code="E-BUNDLE-012",
            what=f"no bundle is written: of the check {own.check} it is not known what it would "
            f"have found, {own.code}: {own.what}",
            mend=f"{own.mend}. {_FORCE}",
        )
        for own in audit.findings
        if own.code in _UNFINISHED
    ]
    left_out = [
        Problem(
            code="E-BUNDLE-013",
            what=f"no bundle is written: the audit was without the check {name}",
            mend=f"evaluate without ~audit.<name> or audit.<name>=null, with audit=quick. {_FORCE}",
        )
        for name in _left_out(audit)
    ]
    return [*leaks, *unfinished, *left_out]


def watermark(audit: Audit) -> str:
    """What stands on everything that comes from a bundle that was written against `obstacles`."""
    return f"FORCED: this model was given away {_why(audit)}. What it says means nothing."


def _why(audit: Audit) -> str:
    if not audit.findings:
        return "without an audit"
    whys = []
    if audit.leaks:
        leaks = ", ".join(dict.fromkeys(leak.code for leak in audit.leaks))
        whys.append(f"although its audit found a leak ({leaks})")
    unfinished = [own.check for own in audit.findings if own.code in _UNFINISHED]
    if unfinished:
        whys.append(f"although checks of its audit did not end ({', '.join(unfinished)})")
    if left_out := _left_out(audit):
        whys.append(f"with an audit that left out {', '.join(left_out)}")
    return ", and ".join(whys)


def _left_out(audit: Audit) -> list[str]:
    """Names of the checks that train nothing and were not run; every check that ran says so."""
    quick = build_each(OmegaConf.load(config_folder() / "audit" / "quick.yaml"))
    ran = {own.check for own in audit.findings}
    return [check.name for check in quick.values() if check.name not in ran]
