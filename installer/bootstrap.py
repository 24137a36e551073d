"""Set everything up, then run the app or the tests: ``python3 installer/bootstrap.py run|test``.

Standard library only. Makes a virtual environment in ``.venv`` of the repository with the exact
versions of ``installer/constraints.txt``, installs the system libraries Qt needs on Debian and
Ubuntu where it may, and does nothing twice: a stamp records what was installed.

    python3 installer/bootstrap.py run     start the app on the bundled example
    python3 installer/bootstrap.py test    run the linters, the type checker and the tests
    python3 installer/bootstrap.py setup   only set up
    python3 installer/bootstrap.py freeze  build the double-click app into dist/ and try it out
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
CONSTRAINTS = ROOT / "installer" / "constraints.txt"
SYSTEM_LIBRARIES = (
    "libegl1",
    "libgl1",
    "libgl1-mesa-dri",
    "libglib2.0-0",
    "libdbus-1-3",
    "libfontconfig1",
    "libfreetype6",
    "libxkbcommon-x11-0",
    "libxcb-cursor0",
    "libxcb-icccm4",
    "libxcb-image0",
    "libxcb-keysyms1",
    "libxcb-randr0",
    "libxcb-render-util0",
    "libxcb-shape0",
    "libxcb-xkb1",
    "libx11-xcb1",
    "fonts-dejavu-core",
)
# A virtual display: some tests, and the trial of the frozen app, need a window on a screen.
TEST_PACKAGES = ("xvfb", "xauth")


def main() -> int:
    """Run the command that the first word names; return its exit code."""
    if sys.version_info < (3, 11):  # noqa: UP036 - any Python may start this file
        print(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}.")
        return 2
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("command", choices=["run", "test", "setup", "freeze"])
    parser.add_argument("rest", nargs=argparse.REMAINDER, help="passed on (to pytest, to the app)")
    options = parser.parse_args()
    try:
        set_up(with_tests=options.command in ("test", "freeze"))
    except (subprocess.CalledProcessError, OSError) as error:
        print(
            f"The installation failed: {error}.\nCheck the network and the free disk space, and "
            "run the same command again; it goes on where it stopped."
        )
        return 3
    if options.command == "run":
        return run(options.rest)
    if options.command == "test":
        return test(options.rest)
    if options.command == "freeze":
        return freeze()
    return 0


def set_up(*, with_tests: bool) -> None:
    """Make the virtual environment and install what is missing."""
    install_system_libraries(TEST_PACKAGES if with_tests else ())
    extras = "[dev]" if with_tests else ""
    stamp = VENV / ("stamp-test" if with_tests else "stamp-run")
    wanted = fingerprint()
    if stamp.is_file() and stamp.read_text() == wanted and python().is_file():
        return
    if not python().is_file():
        print(f"Making a virtual environment in {VENV.relative_to(ROOT)} …", flush=True)
        make_environment()
    print("Installing pinned packages (the first time takes some minutes) …", flush=True)
    pip = [str(python()), "-m", "pip", "--disable-pip-version-check", "install", "-q"]
    # torch first and by its exact version, so that no other requirement decides which build comes.
    pins = [line for line in CONSTRAINTS.read_text().splitlines() if line.startswith("torch==")]
    subprocess.run([*pip, "-c", str(CONSTRAINTS), *pins], check=True)
    subprocess.run([*pip, "-c", str(CONSTRAINTS), "-e", f"{ROOT}{extras}"], check=True)
    stamp.write_text(wanted)
    if with_tests:
        (VENV / "stamp-run").write_text(wanted)


def make_environment() -> None:
    """Create ``.venv``, also where the distribution ships Python without ensurepip."""
    if VENV.exists():
        shutil.rmtree(VENV)
    if importlib.util.find_spec("ensurepip") is None:
        install_packages([f"python3.{sys.version_info.minor}-venv"])
    venv.create(VENV, with_pip=True)


def fingerprint() -> str:
    """Return a hash of everything that decides what is installed."""
    digest = hashlib.sha256(sys.version.encode())
    for path in (ROOT / "pyproject.toml", CONSTRAINTS):
        digest.update(path.read_bytes())
    digest.update(str(ROOT).encode())
    return digest.hexdigest()


def python() -> Path:
    """Return the interpreter of the virtual environment."""
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def install_system_libraries(more: tuple[str, ...] = ()) -> None:
    """Install the libraries Qt needs on Debian and Ubuntu; elsewhere Qt brings its own."""
    if not sys.platform.startswith("linux") or shutil.which("dpkg-query") is None:
        return
    listed = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.splitlines()
    installed = {line.split()[0] for line in listed if line.endswith(" installed")}
    missing = [
        name
        for name in (*SYSTEM_LIBRARIES, *more)
        if name not in installed and f"{name}t64" not in installed
    ]
    if missing:
        install_packages(missing)


def install_packages(names: list[str]) -> None:
    """Install Debian packages as root or through sudo; otherwise say how."""
    prefix: list[str] = []
    if os.geteuid() != 0:
        if shutil.which("sudo") is None or not sys.stdin.isatty():
            print(
                "Some system libraries are missing. Please run, as administrator:\n"
                f"    apt-get install -y --no-install-recommends {' '.join(names)}"
            )
            return
        prefix = ["sudo"]
    print(f"Installing system libraries: {' '.join(names)} …", flush=True)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run([*prefix, "apt-get", "update", "-qq"], check=False, env=quiet)
    install = [*prefix, "apt-get", "install", "-y", "-qq", "--no-install-recommends", *names]
    if subprocess.run(install, check=False, env=quiet, stdout=subprocess.DEVNULL).returncode:
        print("They could not be installed; the app may not find a display, the rest works.")


def has_display() -> bool:
    """Whether a window can be opened here."""
    if not sys.platform.startswith("linux"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def run(rest: list[str]) -> int:
    """Start the app on the example, or run the example headless where there is no display."""
    if has_display():
        return subprocess.run(
            [str(python()), "-m", "app", "--example", *rest], check=False
        ).returncode
    out = ROOT / "example-results"
    print("There is no display, so the example runs without a window.", flush=True)
    command = [str(python()), "-m", "decode_engine", "example", "--out", str(out), "--overwrite"]
    code = subprocess.run([*command, *rest], check=False).returncode
    if code == 0:
        print(f"\nThe picture and the results are in {out}")
    return code


def test(rest: list[str]) -> int:
    """Run the checks and the tests; stop at the first that fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "QT_QPA_PLATFORM": "offscreen"}
    if shutil.which("Xvfb") is not None:
        # A virtual display is here: no test of a window on a screen may be skipped.
        environment["DECODE_REQUIRE_DISPLAY"] = "1"
    exe = [str(python()), "-m"]
    steps = [
        [*exe, "ruff", "check", "."],
        [*exe, "ruff", "format", "--check", "."],
        [*exe, "mypy"],
        [str(python().parent / "lint-imports")],
        [*exe, "pytest", "-n", "2", *rest],
    ]
    for step in steps if not rest else steps[-1:]:
        print(
            "\n$",
            " ".join(Path(word).name if i == 0 else word for i, word in enumerate(step)),
            flush=True,
        )
        code = subprocess.run(step, cwd=ROOT, env=environment, check=False).returncode
        if code:
            return code
    return 0


def freeze() -> int:
    """Build the double-click app of this system into ``dist`` and run the example in it."""
    environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    specification = ROOT / "installer" / "decode_desktop.spec"
    build = [str(python()), "-m", "PyInstaller", "--noconfirm", "--log-level", "WARN"]
    folders = ["--distpath", str(ROOT / "dist"), "--workpath", str(ROOT / "build")]
    steps = [
        [*build, *folders, str(specification)],
        [
            str(python()),
            str(ROOT / "installer" / "smoke.py"),
            str(ROOT / "dist" / "decode-desktop"),
        ],
    ]
    for step in steps:
        code = subprocess.run(step, cwd=ROOT, env=environment, check=False).returncode
        if code:
            return code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
