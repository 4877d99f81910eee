"""Which models are installed, which version of each is active, and which model is the default of its role."""

from .catalogue import Active, Catalogue, Installed
from .names import ModelName

__all__ = ["Active", "Catalogue", "Installed", "ModelName"]
