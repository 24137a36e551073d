"""An engine process whose 'inspect' job misbehaves as its file name says; run by the tests."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
import types
from typing import Any

from decode_engine.contract.jobs import InspectSpec
from decode_engine.jobs.context import JobContext


def run(spec: InspectSpec, context: JobContext) -> dict[str, Any]:
    behaviour = spec.file
    if behaviour == "stray":
        print("a stray print")
        os.write(1, b"a stray write to descriptor 1\n")
        subprocess.run([sys.executable, "-c", "print('a stray child')"], check=True)
        ctypes.CDLL(None).puts(b"a stray line from C")
    if behaviour == "wait":
        while True:
            context.check()
            time.sleep(0.01)
    if behaviour == "stubborn":
        print("stubborn job runs", file=sys.stderr, flush=True)
        while True:
            time.sleep(0.05)
    if behaviour == "segfault":
        ctypes.string_at(0)
    if behaviour == "defect":
        raise ZeroDivisionError("a defect")
    if behaviour == "memory":
        raise MemoryError
    if behaviour == "nan":
        context.metric(1, {"loss": float("nan"), "best": float("inf")})
    if behaviour == "long":
        raise ValueError("x" * 200_000)
    return {"file": behaviour}


if __name__ == "__main__":
    module = types.ModuleType("decode_engine.jobs.inspect")
    module.run = run  # type: ignore[attr-defined]
    sys.modules["decode_engine.jobs.inspect"] = module
    from decode_engine.serve import serve

    raise SystemExit(serve())
