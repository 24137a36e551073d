"""Python's collector of garbage, kept from stopping the window.

Libraries and pages are some 230,000 objects that live as long as the app. Each full collection
looks at all of them: 60 to 180 ms during which the window does not answer, also while nothing
happens at all. So they are taken out of its sight once they exist.
"""

from __future__ import annotations

import gc

__all__ = ["begin_start", "end_start"]


def begin_start() -> None:
    """Collect nothing while the app starts; hardly anything is thrown away then."""
    gc.disable()


def end_start() -> None:
    """Take all that exists for permanent, and collect from here on."""
    gc.freeze()
    gc.enable()
