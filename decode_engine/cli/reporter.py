"""How the command line shows events: a bar on a terminal, JSON lines, or plain lines."""

from __future__ import annotations

import io
import sys
import time
from typing import IO, Any, TypeAlias

from tqdm import tqdm

from decode_engine.contract.checking import strict_json
from decode_engine.contract.messages import (
    Event,
    EventBody,
    FailedEvent,
    LogEvent,
    MetricEvent,
    ProgressEvent,
    StageEvent,
    encode_event,
)
from decode_engine.errors import PeerError

__all__ = ["JsonReporter", "Reporter", "SilentReporter", "TerminalReporter"]


_LINE_EVERY_S = 10.0
_LAST_WORDS_S = 3.0  # torchrun ends all processes when one ends


class JsonReporter:
    """Print every event as one JSON line, exactly as ``serve`` does."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._start_s = time.monotonic()
        self._seq = 0

    def __call__(self, event: EventBody) -> None:
        """Print one event."""
        message = Event(
            job_id="cli", seq=self._seq, t_s=round(time.monotonic() - self._start_s, 3), body=event
        )
        self._seq += 1
        self._stream.write(encode_event(message))
        self._stream.flush()

    def close(self) -> None:
        """Nothing to tidy up."""


class SilentReporter:
    """Show nothing: of a process for which another one speaks."""

    def __call__(self, event: EventBody) -> None:
        """Show a failure that the other process cannot know of; else let that one speak first."""
        if not isinstance(event, FailedEvent):
            return
        if event.code == PeerError.code:
            time.sleep(_LAST_WORDS_S)
        else:
            print(f"Error: {event.message}\n{event.hint}".rstrip(), file=sys.stderr, flush=True)

    def close(self) -> None:
        """Nothing to tidy up."""


class TerminalReporter:
    """Show stages, a progress bar, metrics and warnings on standard error."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._interactive = sys.stderr.isatty()
        self._last_line_s = time.monotonic()

    def __call__(self, event: EventBody) -> None:
        """Show one event."""
        if isinstance(event, ProgressEvent):
            self._progress(event)
        elif isinstance(event, StageEvent):
            self.close()
            self._say(f"{event.name} …")
        elif isinstance(event, LogEvent):
            self._say(f"Warning: {event.text}" if event.level == "warning" else event.text)
        elif isinstance(event, MetricEvent):
            self._metric(event)
        elif isinstance(event, FailedEvent):
            self.close()
            self._say(f"Error: {event.message}" + (f"\n{event.hint}" if event.hint else ""))

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _metric(self, event: MetricEvent) -> None:
        numbers = "  ".join(f"{k} {v:.4g}" for k, v in event.values.items())
        if "jaccard" in event.values:  # a validation: worth a line that stays
            self._say(f"step {event.step}: {numbers}")
        elif self._bar is not None:
            self._bar.set_postfix_str(numbers, refresh=False)

    def _progress(self, event: ProgressEvent) -> None:
        if not self._interactive:
            self._progress_line(event)
            return
        if self._bar is None:
            self._bar = tqdm(total=_whole(event.total), unit=f" {event.unit}", leave=False)
        self._bar.total = _whole(event.total)
        self._bar.update(_whole(event.done) - self._bar.n)
        if event.done >= event.total:
            self.close()

    def _progress_line(self, event: ProgressEvent) -> None:
        """Leave a line now and then where nobody sees a bar (a log file, a batch system)."""
        now_s = time.monotonic()
        if now_s - self._last_line_s >= _LINE_EVERY_S:
            self._last_line_s = now_s
            left = "" if event.eta_s is None else f", about {event.eta_s:.0f} s left"
            self._say(f"{event.done:.6g} of {event.total:.6g} {event.unit}{left}")

    def _say(self, text: str) -> None:
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        else:
            print(text, file=sys.stderr, flush=True)


Reporter: TypeAlias = JsonReporter | TerminalReporter | SilentReporter


def _whole(value: float) -> float:
    """Return an int where the value is one, so that the bar says 3/4 and not 3.0/4.0."""
    return int(value) if float(value).is_integer() else round(value, 2)


# Lists of sentences that "lines" repeats for a reader.
_SAID = ("remarks",)  # logged while the job ran
_IN_LINES = ("guesses", "notes")


def print_summary(summary: dict[str, Any], *, as_json: bool) -> None:
    """Print what a job returned: JSON, or one aligned line a value."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # File names may hold bytes that are no text; they must not keep the result back.
        sys.stdout.reconfigure(errors="backslashreplace")
    if as_json:
        print(strict_json(summary))
        return
    width = max((len(k) for k in summary), default=0)
    for key, value in summary.items():
        if key in _SAID or (key in _IN_LINES and "lines" in summary):
            continue
        if key == "lines" and isinstance(value, list):
            print("\n".join(str(line) for line in value))
        elif isinstance(value, float):
            print(f"{key.ljust(width)}  {value:.6g}")
        elif isinstance(value, list):
            print(f"{key.ljust(width)}  {', '.join(str(v) for v in value)}")
        else:
            print(f"{key.ljust(width)}  {value}")
