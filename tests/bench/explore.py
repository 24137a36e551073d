"""The Explore page under a virtual display: ``python -m tests.bench.explore [MILLIONS ...]``.

Prints one JSON line for each number of localizations and kind of canvas ("gl": vispy on whatever
OpenGL the display has, "paint": Qt's painter): seconds from opening the file to the first
picture, fresh pictures a second while the picture is dragged, and the lateness of a heartbeat of
5 ms, which is how long the window does not answer. The file of synthetic filaments is made anew
for each size. The app itself uses vispy only where OpenGL is drawn by
hardware. Xvfb must be installed; ``DISPLAY`` is used where it is set.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PySide6.QtWidgets import QPushButton, QTabWidget

from app.controllers.explore import ExploreController
from decode_engine.domain.localizations import Localizations
from decode_engine.io.localizations import LocalizationMetadata, write_localizations

FIELD_NM = 40_000.0
DRAG_S = 4.0
BEAT_MS = 5


def filaments(n: int, seed: int = 1, n_filaments: int = 120) -> Localizations:
    """Return localizations on curved lines in 3D over a field of 40 µm, in random order."""
    rng = np.random.default_rng(seed)
    line = rng.integers(0, n_filaments, n)
    angle = rng.uniform(0, 2 * np.pi, n_filaments)
    start = rng.uniform(0, FIELD_NM, (2, n_filaments))
    bend, z0 = rng.normal(0, 1 / 30_000, n_filaments), rng.uniform(-300, 300, n_filaments)
    slope = rng.normal(0, 0.01, n_filaments)
    along = rng.uniform(-25_000, 25_000, n)
    direction = angle[line] + 0.5 * bend[line] * along
    photons = rng.gamma(3, 900, n) + 150
    sigma = 600 / np.sqrt(photons) * rng.uniform(0.8, 1.3, (2, n))
    x = start[0][line] + along * np.cos(direction) + rng.normal(0, 12, n)
    y = start[1][line] + along * np.sin(direction) + rng.normal(0, 12, n)
    columns = {
        # Filaments that leave the field enter it again at the other side: n stays n.
        "x_nm": (x + rng.normal(0, 1, n) * sigma[0]) % FIELD_NM,
        "y_nm": (y + rng.normal(0, 1, n) * sigma[1]) % FIELD_NM,
        "z_nm": z0[line] + slope[line] * along + rng.normal(0, 2.5, n) * sigma[0],
        "photons": photons,
        "background": rng.uniform(10, 60, n),
        "probability": rng.beta(8, 1, n),
        "sigma_x_nm": sigma[0],
        "sigma_y_nm": sigma[1],
        "sigma_z_nm": 2.5 * sigma[0],
    }
    frame = np.sort(rng.integers(0, 50_000, n)).astype(np.int32)
    return Localizations(frame=frame, **{k: v.astype(np.float32) for k, v in columns.items()})


def write_filaments(path: Path, n: int) -> None:
    """Write them as a localization file."""
    metadata = LocalizationMetadata(
        width_px=400,
        height_px=400,
        pixel_size_x_nm=100.0,
        pixel_size_y_nm=100.0,
        frame_stop=50_000,
        movie_frames=50_000,
    )
    write_localizations(path, filaments(n), metadata, overwrite=True)


def measure(path: Path, back_end: str) -> dict[str, object]:
    """Open a table in a real window and drag it about; runs in a process of its own."""
    from PySide6.QtCore import QCoreApplication, QPoint, Qt, QTimer
    from PySide6.QtTest import QTest
    from PySide6.QtWidgets import QApplication

    os.environ["DECODE_DESKTOP_OPENGL"] = "off" if back_end == "paint" else "on"
    QCoreApplication.setAttribute(Qt.ApplicationAttribute.AA_ShareOpenGLContexts)
    application = QApplication([])
    from app.controllers.background import Background
    from app.controllers.job_center import JobCenter
    from app.controllers.page_controller import AppContext
    from app.controllers.session import ProjectSession
    from app.settings import SettingsStore
    from app.views.gl_probe import probe_gl

    folder = Path(tempfile.mkdtemp())
    background = Background()
    context = AppContext(
        session=ProjectSession(background, home=folder / "projects"),
        jobs=JobCenter.__new__(JobCenter),  # no engine is needed
        background=background,
        settings=SettingsStore(folder / "settings.json"),
    )
    controller = ExploreController(context)
    page = controller.page
    page.resize(1040, 720)
    page.show()
    controller.activate()
    pictures: list[bool] = []
    controller.loop.drawn.connect(lambda p: None if p.backdrop else pictures.append(p.exact))
    late: list[float] = []
    last = [time.perf_counter()]

    def beat() -> None:
        now = time.perf_counter()
        late.append((now - last[0]) * 1e3 - BEAT_MS)
        last[0] = now

    timer = QTimer(timerType=Qt.TimerType.PreciseTimer)
    timer.timeout.connect(beat)

    def spin(until: Callable[[], bool], limit_s: float = 120.0) -> float:
        begun = time.perf_counter()
        while not until() and time.perf_counter() - begun < limit_s:
            application.processEvents()
            time.sleep(0.0005)
        return time.perf_counter() - begun

    def idle() -> bool:
        return not controller.loop.busy and not background.busy

    # A first, tiny table: kernels are loaded and the page is laid out, as after some use.
    tiny = path.with_name("tiny.h5")
    write_filaments(tiny, 2000)
    controller.open_paths([tiny])
    spin(lambda: bool(pictures) and idle(), 300.0)
    spin(lambda: False, 0.2)  # pictures on their way
    pictures.clear()
    timer.start(BEAT_MS)
    last[0] = time.perf_counter()
    begun = time.perf_counter()
    controller.open_paths([path])
    spin(lambda: bool(pictures) and controller.shown_path == str(path))
    first_s = time.perf_counter() - begun
    opening = np.array(late)
    spin(idle)
    result: dict[str, object] = {
        "n": len(context.tables.read(str(path))),
        "canvas": page.canvas.back_end,
        "opengl": probe_gl().renderer if probe_gl() else None,
        "first_picture_s": round(first_s, 2),
        "opening": latency(opening),
    }
    layer = page.canvas.focusProxy()
    middle = QPoint(layer.width() // 2, layer.height() // 2)
    for name, zoom in (("whole", 1.0), ("10 nm/px", None), ("2 nm/px", 5.0)):
        page.canvas.zoom_by(zoom or page.canvas.view.pixel_size_nm / 10.0)
        spin(lambda: False, 0.05)
        begun = time.perf_counter()
        spin(idle)
        exact_s = time.perf_counter() - begun
        late.clear()
        pictures.clear()
        last[0] = begun = time.perf_counter()
        QTest.mousePress(layer, Qt.MouseButton.LeftButton, pos=middle)
        step = 0
        while time.perf_counter() - begun < DRAG_S:
            step += 1
            turn = 0.05 * step
            where = middle + QPoint(int(80 * np.cos(turn)), int(60 * np.sin(turn)))
            QTest.mouseMove(layer, where)
            spin(lambda: False, 0.016)
        fresh = len(pictures) / (time.perf_counter() - begun)
        QTest.mouseRelease(layer, Qt.MouseButton.LeftButton, pos=middle)
        result[name] = {
            "fresh_per_s": round(fresh, 1),
            "exact_after_rest_s": round(exact_s, 2),
            **latency(np.array(late)),
        }
        spin(idle)
    result["3D"] = spin_points(controller, spin, idle, late)
    result["peak_rss_gb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)
    controller.close()
    context.session.close()
    background.close()
    page.close()
    shutil.rmtree(folder, ignore_errors=True)
    return result


def spin_points(
    controller: ExploreController,
    spin: Callable[..., float],
    idle: Callable[[], bool],
    late: list[float],
) -> dict[str, float]:
    """Let the points of the whole field turn; count the pictures that were painted."""
    page = controller.page
    page.canvas.fit()
    spin(idle)
    page.findChild(QTabWidget, "explore-views").setCurrentIndex(1)
    spin(idle)
    painted: list[object] = []
    page.points.frame_shown.connect(lambda: painted.append(None))
    late.clear()
    begun = time.perf_counter()
    page.findChild(QPushButton, "explore-3d-spin").setChecked(True)
    spin(lambda: time.perf_counter() - begun > DRAG_S)
    fresh = len(painted) / (time.perf_counter() - begun)
    found = {"fresh_per_s": round(fresh, 1), **latency(np.array(late))}
    page.findChild(QPushButton, "explore-3d-spin").setChecked(False)
    spin(idle)
    return found


def latency(late_ms: np.ndarray) -> dict[str, float]:
    """Return percentiles of the heartbeat's lateness."""
    if not late_ms.size:
        return {}
    p50, p99, worst = np.percentile(late_ms, [50, 99, 100])
    return {
        "late_p50_ms": round(float(p50), 1),
        "late_p99_ms": round(float(p99), 1),
        "late_max_ms": round(float(worst), 1),
    }


def virtual_display() -> tuple[subprocess.Popen[bytes] | None, str]:
    """Start Xvfb on a free number; returns it and the value of DISPLAY."""
    if os.environ.get("DISPLAY"):
        return None, os.environ["DISPLAY"]
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "1280x800x24", "+extension", "GLX"],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    with os.fdopen(read) as pipe:
        number = pipe.readline().strip()
    return server, f":{number}"


def main() -> None:
    """Measure all sizes with both canvases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("millions", nargs="*", type=float, default=[1.0, 10.0])
    parser.add_argument("--child", nargs=2, metavar=("TABLE", "CANVAS"))
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(Path(options.child[0]), options.child[1])))
        return
    server, display = virtual_display()
    environment = os.environ | {"DISPLAY": display, "QT_QPA_PLATFORM": "xcb"}
    try:
        with tempfile.TemporaryDirectory() as folder:
            for millions in options.millions:
                path = Path(folder) / "table.h5"
                path.unlink(missing_ok=True)
                write_filaments(path, int(millions * 1e6))
                for canvas in ("gl", "paint"):
                    command = [sys.executable, "-m", "tests.bench.explore", "--child"]
                    subprocess.run([*command, str(path), canvas], env=environment, check=True)
    finally:
        if server is not None:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
