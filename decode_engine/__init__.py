"""Decode Desktop's engine: from bead stack and movie to localizations.

The names below are loaded on first use, so ``import decode_engine`` costs no torch.
"""

from __future__ import annotations

__version__ = "0.1.0"
