"""Commands of engines for tests of the window: a scripted one, and the real one.

How to use it::

    center = JobCenter(session, scripted_command("complete"), patience=IMPATIENT)
    ...
    center.shutdown("kill")          # at the end of the test: leaves no process

Behaviours of `scripted_command`:

============== ==========================================================================
complete       replay the recording of the job, at once
slow           the same with 50 ms between events (or ``delay_ms``); can be paused, resumed,
               finished, cancelled (so can all others between two events)
wait           replay half, then wait for cancel, finish, pause; answers pings
fail           replay half, then fail with ``code`` (``disk_full`` if none is given)
oom            fail with ``out_of_memory``, as told by the engine itself
crash          replay half, then abort (SIGABRT) with last words on standard error
oom-kill       replay half, then end as by the system's memory killer (SIGKILL)
hang           replay half, then be dead to pings, cancel and SIGTERM
stuck          replay half, then answer pings but tell of a job without sign of life
other-version  speak protocol 99
exit           end with code 3 before saying hello
crash-at-start abort before saying hello
no-hello       start and say nothing
============== ==========================================================================

Different jobs may behave differently: ``"complete,train=crash,localize=slow"`` (the first one
is the default). Recordings lie in ``tests/gui/recordings/<job>.jsonl``, with the files that
were announced beside them; `tests.gui.record` makes them from the real engine. The job's own
paths are put in, so a replayed training writes its model where the page asked for it. Jobs
without torch (inspect, render, export, evaluate) are really done, whatever the file.
"""

from __future__ import annotations

import sys
from pathlib import Path

from app.engine_link.client import Patience

__all__ = ["IMPATIENT", "RECORDINGS", "real_command", "scripted_command"]

RECORDINGS = Path(__file__).with_name("recordings")
_SCRIPT = Path(__file__).with_name("scripted_engine.py")

# Short enough for tests, long enough for a busy machine.
IMPATIENT = Patience(
    hello_s=30.0,
    ping_every_s=0.2,
    pings=8,
    stuck_s=60.0,
    stop_s=1.0,
    stop_keeping_s=20.0,
    kill_s=0.5,
    restart_s=(0.05, 0.1),
)


def scripted_command(
    behaviour: str = "complete",
    *,
    image: Path | None = None,
    recordings: Path | None = None,
    delay_ms: float | None = None,
    code: str | None = None,
) -> tuple[str, ...]:
    """Return the command of an engine that replays; see above for the behaviours."""
    options: list[str] = [] if image is None else [str(image)]
    if recordings is not None:
        options += ["--recordings", str(recordings)]
    if delay_ms is not None:
        options += ["--delay-ms", str(delay_ms)]
    if code is not None:
        options += ["--code", code]
    return (sys.executable, str(_SCRIPT), behaviour, *options)


def real_command() -> tuple[str, ...]:
    """Return the command of the real engine."""
    return (sys.executable, "-m", "decode_engine", "serve")
