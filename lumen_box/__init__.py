"""Lumen Box: a language model appliance for servers with no way out of the building."""

__version__ = "0.1.0"
