"""Runs an entry point: one clear message and an exit status for what a user can mend."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from typing import Final

from omegaconf.errors import OmegaConfBaseException

from recart.config.compose import config_folder
from recart.config.schema import register
from recart.interruption import Interrupted, interruptible
from recart.problems import InputError, Problem

__all__ = ["run_command"]

# what a file system says of a place that nothing can be written to, or of one that is a file
_PLACES: Final = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT),
    *(errno.EEXIST, errno.ENOTDIR, errno.EISDIR),
}


def run_command(main: Callable[[], object], entry: str) -> None:
    """Call a function that `hydra.main` decorated; end the process with status 2 on bad input.

    A signal that asks it to stop ends it with status 128 + its number (Ctrl-C: 130, SIGTERM: 143)
    and one line. With HYDRA_FULL_ERROR set, errors come with their traceback instead.

    Parameters
    ----------
    main
        The decorated function.
    entry
        `train`, `evaluate` or `embed`.
    """
    register()
    try:
        with interruptible():
            if os.environ.get("HYDRA_FULL_ERROR"):
                main()
            else:
                _plainly(main, entry)
    except Interrupted as stop:
        sys.stderr.write(f"{stop.line}\n")
        raise SystemExit(128 + stop.number) from None
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the run goes on where it was with paths.run=<its folder>\n")
        raise SystemExit(130) from None


def _plainly(main: Callable[[], object], entry: str) -> None:
    """Call it; what a user can mend is said without a traceback."""
    from hydra.errors import HydraException

    os.environ["HYDRA_FULL_ERROR"] = "1"  # else Hydra prints the error itself and exits
    try:
        main()
    except InputError as error:
        _end(str(error))
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        from recart.config.messages import NO_GROUP_OF_NONE, translate

        of_hydra = isinstance(error, HydraException | OmegaConfBaseException)
        if not of_hydra and NO_GROUP_OF_NONE not in str(error):
            raise

        _end(str(translate(error, config_folder(), entry, sys.argv[1:])))
    except OSError as error:
        if error.errno not in _PLACES or error.filename is None:
            raise
        problem = Problem(
            code="E-RUN-016",
            file=str(error.filename),
            what=f"the place can't be used ({error.strerror})",
            mend="name another with paths.run=... and paths.prepared=..., or give it room and "
            "rights",
        )
        _end(str(InputError([problem])))
    finally:
        del os.environ["HYDRA_FULL_ERROR"]


def _end(message: str) -> None:
    sys.stderr.write(f"{message}\n(HYDRA_FULL_ERROR=1 shows where it was raised)\n")
    raise SystemExit(2)
