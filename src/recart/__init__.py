"""recart learns from single cells which patients respond to CAR T cell therapy."""

from importlib.metadata import version

__version__ = version("recart")
__all__ = ["__version__"]
