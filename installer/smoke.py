"""Try a frozen app as a user would: clean environment, the example, a result in its project.

    python installer/smoke.py dist/decode-desktop [--picture window.png]

Starts the window (under a virtual display where there is none and Xvfb is installed), lets it run
the bundled example and waits until the project that it makes holds the finished localizations;
then asks it to quit. Standard library only, so that it needs nothing of what it tries.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

DEADLINE_S = 240.0
KEPT = ("LANG", "SYSTEMROOT", "TEMP", "TMP", "WINDIR", "APPDATA", "LOCALAPPDATA", "OMP_NUM_THREADS")


def main() -> int:
    """Run the app and say what came out; return 0 if it works."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="the frozen app (its folder)")
    parser.add_argument("--picture", type=Path, help="take a picture of the screen (needs import)")
    options = parser.parse_args()
    suffix = ".exe" if os.name == "nt" else ""
    window = options.folder / f"decode-desktop{suffix}"
    engine = options.folder / f"decode-engine{suffix}"
    with tempfile.TemporaryDirectory() as home, display() as shown:
        environment = {k: os.environ[k] for k in KEPT if k in os.environ}
        environment |= {"HOME": home, "USERPROFILE": home, **shown}
        report = {"size_mb": round(size_mb(options.folder)), **version(engine, environment)}
        report |= example(window, Path(home), environment, options.picture)
    print(json.dumps(report, indent=2))
    return 0 if report.get("localizations") else 1


def version(engine: Path, environment: dict[str, str]) -> dict[str, object]:
    """Ask the engine who it is."""
    began = time.perf_counter()
    run = subprocess.run(
        [engine, "--version"], env=environment, capture_output=True, text=True, check=True
    )
    return {"engine": run.stdout.strip(), "engine_start_s": round(time.perf_counter() - began, 2)}


def example(
    window: Path, home: Path, environment: dict[str, str], picture: Path | None
) -> dict[str, object]:
    """Run the example in the window and wait for its localizations."""
    began = time.perf_counter()
    with (home / "output.txt").open("w") as output:
        app = subprocess.Popen(
            [window, "--example"], env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    report: dict[str, object] = {"localizations": 0}
    while time.perf_counter() - began < DEADLINE_S and app.poll() is None:
        if (count := localizations(home)) is not None:
            report = {"localizations": count, "example_s": round(time.perf_counter() - began, 1)}
            break
        time.sleep(0.5)
    time.sleep(5.0)  # the picture is drawn
    if picture is not None and (program := shutil.which("import")) is not None:
        shot = [program, "-window", "root", str(picture)]
        subprocess.run(shot, env={**os.environ, **environment}, check=False)
    report["alive"] = app.poll() is None
    app.send_signal(signal.SIGTERM)
    try:
        app.wait(20.0)
    except subprocess.TimeoutExpired:
        app.kill()
    report["output"] = (home / "output.txt").read_text(errors="replace")[-2000:]
    return report


def localizations(home: Path) -> int | None:
    """Return how many localizations a finished run of the example's project has."""
    for project in home.rglob("project.json"):
        with contextlib.suppress(OSError, ValueError):
            for run in json.loads(project.read_text("utf-8"))["runs"]:
                if run["step"] == "localize" and run["state"] == "completed":
                    return int(run["summary"]["localizations"])
    return None


def size_mb(folder: Path) -> float:
    """Return the size of all files; links count nothing."""
    files = (p for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
    return sum(p.stat().st_size for p in files) / 1e6


@contextlib.contextmanager
def display() -> Iterator[dict[str, str]]:
    """Give a display: the one that is there, else a virtual one."""
    if sys.platform != "linux":
        yield {}
        return
    if "DISPLAY" in os.environ:
        yield {"DISPLAY": os.environ["DISPLAY"]}
        return
    program = shutil.which("Xvfb")
    if program is None:
        raise SystemExit("There is no display; install Xvfb (apt install xvfb) and try again.")
    read, write = os.pipe()
    server = subprocess.Popen(
        [program, "-displayfd", str(write), "-screen", "0", "1280x800x24", "+extension", "GLX"],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    try:
        with os.fdopen(read) as answer:
            yield {"DISPLAY": f":{answer.readline().strip()}"}
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    raise SystemExit(main())
