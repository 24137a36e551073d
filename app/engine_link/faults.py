"""What ended an engine, told apart and put in words: a program's end says little by itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from decode_engine.contract.messages import PROTOCOL_VERSION, FailedEvent

__all__ = [
    "describe_end",
    "did_not_start",
    "gone_before_hello",
    "silent_engine",
    "silent_start",
    "stuck_job",
    "wrong_version",
]

_SIGKILL = 9
_SIGNALS = {
    4: "it used an instruction that this processor lacks",
    6: "it gave up",
    7: "memory or a file it was reading vanished",
    8: "an impossible calculation",
    11: "it used memory that is not its own",
    15: "another program ended it",
}
_SHELL_SIGNAL = 128  # a shell tells of a signal as 128 + its number
# Windows: no memory, commitment limit, insufficient resources.
_WINDOWS_MEMORY = frozenset({0xC0000017, 0xC000012D, 0xC000009A})
_MEMORY_WORDS = ("MemoryError", "OutOfMemoryError", "bad_alloc", "out of memory", "oom-kill",
                 "Cannot allocate memory", "failed to map segment")  # fmt: skip
_SSH_ENDED = 255
_LAST_LINES = 20  # earlier ones may speak of a job that survived
_RESUME = "Finished results are safe, and a training or localization can be resumed."


def did_not_start(command: Sequence[str], detail: str) -> FailedEvent:
    """Tell that the program is not there or may not be run."""
    return FailedEvent(
        code="did_not_start",
        message=f"The engine could not be started: {command[0]!r} cannot be run.",
        hint="Install the app again, or check the engine's command in the settings.",
        detail=detail,
    )


def gone_before_hello(command: Sequence[str], code: int, stderr: Sequence[str]) -> FailedEvent:
    """Tell of another program than an engine, or of one that could not even begin."""
    if _is_ssh(command) and code == _SSH_ENDED:
        return _no_connection(stderr)
    if _is_memory(code, by_signal=False, stderr=stderr):
        return _out_of_memory(stderr)
    return FailedEvent(
        code="did_not_start",
        message=f"The engine ended before it was ready (code {code}).",
        hint="See the details; install the app again, or check the engine's command in the "
        "settings.",
        detail="\n".join(stderr),
    )


def wrong_version(protocol: int, version: str) -> FailedEvent:
    """Tell that the engine is of another version."""
    return FailedEvent(
        code="wrong_version",
        message=f"The engine (version {version}) speaks version {protocol} of the protocol, "
        f"the app version {PROTOCOL_VERSION}.",
        hint="Install the same version of app and engine; on another computer too, if the engine "
        "runs there.",
    )


def silent_start(seconds: float) -> FailedEvent:
    """Tell that the program runs but says nothing."""
    return FailedEvent(
        code="not_responding",
        message=f"The engine has not answered for {seconds:.0f} seconds after its start.",
        hint="Wait, or check the engine's command in the settings (a remote one must not ask "
        "for a password).",
    )


def silent_engine(seconds: float) -> FailedEvent:
    """Tell that nothing comes any more, not even an answer to a ping."""
    return FailedEvent(
        code="not_responding",
        message=f"The engine has not answered for {seconds:.0f} seconds.",
        hint="Wait, if the computer is very busy, or stop the job; what it saved is kept.",
    )


def stuck_job(seconds: float) -> FailedEvent:
    """Tell that the engine answers but its job does not go on."""
    return FailedEvent(
        code="not_responding",
        message=f"The job has shown no sign of life for {seconds:.0f} seconds.",
        hint="Check drives and network; wait, or stop the job: what it saved is kept.",
    )


def describe_end(
    command: Sequence[str], code: int, *, by_signal: bool, stderr: Sequence[str]
) -> FailedEvent:
    """Return why an engine that was at work is gone.

    Parameters
    ----------
    command : sequence of str
    code : int
        Exit code, or the signal's number.
    by_signal : bool
    stderr : sequence of str
        Its last lines.
    """
    if _is_memory(code, by_signal=by_signal, stderr=stderr):
        return _out_of_memory(stderr)
    number = code if by_signal else code - _SHELL_SIGNAL
    if _is_ssh(command) and code == _SSH_ENDED and not by_signal:
        return _no_connection(stderr)
    why = _SIGNALS.get(number, "")
    how = f"signal {number}" if by_signal or why else f"code {code & 0xFFFFFFFF:#x}"
    if not by_signal and 0 <= code < _SHELL_SIGNAL:
        how, why = f"code {code}", ""
    return FailedEvent(
        code="crashed",
        message=f"The engine stopped unexpectedly ({how}{': ' if why else ''}{why}).",
        hint=f"Start the job again. {_RESUME} If it happens again, report it with the details.",
        detail="\n".join(stderr),
    )


def _is_memory(code: int, *, by_signal: bool, stderr: Sequence[str]) -> bool:
    """Whether an end looks like that of a program for which there was no memory."""
    number = code if by_signal else code - _SHELL_SIGNAL
    return (
        number == _SIGKILL
        or code & 0xFFFFFFFF in _WINDOWS_MEMORY
        or any(word in line for line in stderr[-_LAST_LINES:] for word in _MEMORY_WORDS)
    )


def _out_of_memory(stderr: Sequence[str]) -> FailedEvent:
    return FailedEvent(
        code="out_of_memory",
        message="The system ended the engine, most likely because the memory was full.",
        hint="Close other programs, or choose a smaller batch or smaller tiles, then go on. "
        + _RESUME,
        detail="\n".join(stderr),
    )


def _no_connection(stderr: Sequence[str]) -> FailedEvent:
    return FailedEvent(
        code="connection_lost",
        message="The connection to the computer on which the engine runs could not be made or "
        "was lost.",
        hint="Check the network, and that 'ssh' to it works without asking for a password. "
        + _RESUME,
        detail="\n".join(stderr),
    )


def _is_ssh(command: Sequence[str]) -> bool:
    return PurePath(command[0]).stem.lower() in ("ssh", "plink")
