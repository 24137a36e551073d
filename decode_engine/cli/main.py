"""Parse the words, run the job, show its events, return the exit code."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any, NoReturn

import pydantic

import decode_engine
from decode_engine.cli.flags import join_negative
from decode_engine.cli.reporter import (
    JsonReporter,
    Reporter,
    SilentReporter,
    TerminalReporter,
    print_summary,
)
from decode_engine.cli.verbs import VERBS, add_verb, build_spec
from decode_engine.contract.jobs import JobSpec
from decode_engine.contract.messages import FinishedEvent
from decode_engine.errors import CancelledError, ConfigError, EngineError, PeerError
from decode_engine.io.launcher import read_launch
from decode_engine.jobs.context import CancelToken, JobContext
from decode_engine.jobs.registry import describe_failure, exit_code, run_job

__all__ = ["main"]


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are `ConfigError`, so that every bad word ends the same way."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(
            message[:1].upper() + message[1:] + ".", hint=f"See '{self.prog} --help'."
        )


def main(words: list[str]) -> int:
    """Run one command and return the exit code."""
    # Looked for before parsing: bad words must be reported as events too.
    reporter: Reporter = TerminalReporter()
    if read_launch(os.environ).follows:
        reporter = SilentReporter()
    elif "--json-events" in words:
        reporter = JsonReporter(sys.stdout.buffer)
    try:
        return _command(words, reporter)
    except BrokenPipeError:
        # The reader has gone (as "| head" does) and wants to hear no more, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EngineError.exit_code
    except KeyboardInterrupt:
        return CancelledError.exit_code


def _command(words: list[str], reporter: Reporter) -> int:
    try:
        namespace = build_parser().parse_args(join_negative(words))
        if namespace.verb == "schema":
            print(json.dumps(_schema(namespace.name), indent=2))
            return 0
        spec = build_spec(namespace.verb, namespace)
        _require_alone(spec)
        summary = _run(spec, reporter)
        if isinstance(reporter, TerminalReporter):
            print_summary(summary, as_json=namespace.json)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - the process rim: everything becomes an exit code
        cancelled = isinstance(error, CancelledError) and isinstance(reporter, JsonReporter)
        reporter(FinishedEvent(reason="cancelled") if cancelled else describe_failure(error))
        return exit_code(error)
    finally:
        reporter.close()
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Return the parser with all verbs."""
    parser = _Parser(
        prog="decode-engine",
        description="Single-molecule localization with DECODE: calibrate, train, localize, look.",
    )
    parser.add_argument(
        "--version", action="version", version=f"decode-engine {decode_engine.__version__}"
    )
    subparsers = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb in VERBS:
        add_verb(subparsers, verb)
    schema = subparsers.add_parser("schema", help="Print the JSON schema of jobs and settings.")
    schema.add_argument("name", nargs="?", help="One job or configuration, for example train.")
    subparsers.add_parser("serve", help="Read commands and write events as JSON lines.")
    return parser


def _require_alone(spec: JobSpec) -> None:
    """Raise `EngineError` if several processes would do a job that they cannot share."""
    launch = read_launch(os.environ)
    if launch.size > 1 and spec.job != "train":
        raise (PeerError if launch.follows else ConfigError)(
            f"{launch.size} processes would each do the same {spec.job}.",
            hint="Start it without torchrun: only a training is shared by its processes.",
        )


def _run(spec: JobSpec, reporter: Reporter) -> dict[str, Any]:
    token = CancelToken()
    context = JobContext(emit=reporter, cancel=token)
    with _interrupts_cancel(token):
        summary = run_job(spec, context)
    if isinstance(reporter, JsonReporter):
        reporter(FinishedEvent(reason="completed", summary=summary))
    return summary


@contextlib.contextmanager
def _interrupts_cancel(token: CancelToken) -> Iterator[None]:
    """Cancel cooperatively at the first Ctrl-C or SIGTERM; the second one ends at once."""

    def handle(number: int, _frame: FrameType | None) -> None:
        if token.cancelled:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        token.cancel()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _schema(name: str | None) -> dict[str, Any]:
    if name is None:
        schema: dict[str, Any] = pydantic.TypeAdapter(JobSpec).json_schema()
        return schema
    models: dict[str, Any] = {v.name: v.spec for v in VERBS}
    configs = importlib.import_module("decode_engine.contract.configs")
    models.update({n: getattr(configs, n) for n in configs.__all__})
    if name not in models:
        raise ConfigError(
            f"There is no schema named {name!r}.", hint=f"Known: {', '.join(sorted(models))}."
        )
    result: dict[str, Any] = models[name].model_json_schema()
    return result
