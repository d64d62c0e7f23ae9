"""The thresholds that a user sees in the configuration are those of the checks."""

from dataclasses import asdict

from recart.config.build import build
from recart.config.compose import compose
from recart.data.checks import Limits


def test_configured_limits_are_the_defaults() -> None:
    assert asdict(build(compose().data.limits)) == asdict(Limits())


def test_a_limit_is_set_like_any_key() -> None:
    assert build(compose(["data.limits.min_cells=7"]).data.limits).min_cells == 7
