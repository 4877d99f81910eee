"""Builds what a box needs before Lumen Box itself can run: the environment and the engine library.

Everything here uses the standard library alone, because it runs before anything is installed; ``preflight`` is
written so that even a Python which is too old can run it and say so.
"""
