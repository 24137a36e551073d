"""Which starter model fits a calibration, and what is said when none does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.models.input_parts import watched_paths
from app.models.project import CalibrationChoice, Project, ProjectSettings, TrainStart
from app.models.train_job import expectation, rate_for_start
from app.models.train_start import judge_start, start_choices
from decode_engine.contract.configs import TrainingConfig
from decode_engine.domain.calibration import Calibration, GaussianPsf, SplinePsf
from decode_engine.errors import ModelError
from decode_engine.io import starters
from decode_engine.io.calibrations import read_calibration
from decode_engine.io.models import read_model
from decode_engine.io.resources import resource_path
from decode_engine.io.starters import starter_family, starter_model, z_orientation

_LARGEST_BYTES = 12_000_000


def spline(x_sigma_px: np.ndarray, y_sigma_px: np.ndarray) -> Calibration:  # type: ignore[type-arg]
    """Return Gaussians of given widths, 50 nm apart; z falls with the slice."""
    place = np.arange(25) - 12.0
    x = np.exp(-0.5 * (place / x_sigma_px[:, None]) ** 2)
    y = np.exp(-0.5 * (place / y_sigma_px[:, None]) ** 2)
    coefficients = np.zeros((25, 25, len(x_sigma_px), 64), np.float32)
    coefficients[..., 0] = np.einsum("zy,zx->yxz", y, x)
    middle = (len(x_sigma_px) - 1) / 2
    psf = SplinePsf(
        coefficients=coefficients, dz_nm=50.0, z0_slice=middle, center_x_px=12, center_y_px=12
    )
    return Calibration(psf=psf, pixel_size_x_nm=100.0, pixel_size_y_nm=100.0)


Z_NM = -(np.arange(25) - 12) * 50.0
WIDE_WITH_Z = 1.2 + np.clip((Z_NM + 200) / 600, 0, None)
WIDE_AGAINST_Z = WIDE_WITH_Z[::-1]


def test_astigmatic_and_which_way() -> None:
    rising, falling = spline(WIDE_WITH_Z, WIDE_AGAINST_Z), spline(WIDE_AGAINST_Z, WIDE_WITH_Z)
    assert starter_family(rising) == starter_family(falling) == "astigmatic"
    assert (z_orientation(rising), z_orientation(falling)) == (1, -1)


def test_gaussians_agree_with_splines_about_the_direction() -> None:
    """X is narrow at ``focus_x``: a lower focus means wider with growing z."""
    psf = GaussianPsf(
        sigma0_x_nm=130, sigma0_y_nm=130, depth_nm=400, focus_x_nm=-200, focus_y_nm=200,
        z_min_nm=-500, z_max_nm=500,
    )  # fmt: skip
    calibration = Calibration(psf=psf)
    assert starter_family(calibration) == "astigmatic"
    assert z_orientation(calibration) == 1


def test_flat_and_broad_and_neither() -> None:
    assert starter_family(Calibration(psf=GaussianPsf(sigma0_x_nm=130, sigma0_y_nm=130))) == "2d"
    assert starter_family(spline(3 * WIDE_WITH_Z, 3 * WIDE_AGAINST_Z)) == "tetrapod"
    symmetric = 1.2 + np.abs(Z_NM) / 600
    assert starter_family(spline(symmetric, symmetric)) is None


def test_real_and_computed_psfs() -> None:
    example = read_calibration(resource_path("example", "calibration.h5"))
    assert starter_family(example) == "astigmatic"
    assert z_orientation(example) == -1


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(starters, "installed_starters", lambda: {"2d": tmp_path / "2d.decode"})
    flat = Calibration(psf=GaussianPsf(sigma0_x_nm=130, sigma0_y_nm=130))
    assert starter_model("starter", flat) == tmp_path / "2d.decode"
    assert starter_model("starter:2d", spline(WIDE_WITH_Z, WIDE_AGAINST_Z)).stem == "2d"
    with pytest.raises(ModelError, match="no starter model for astigmatic 3D") as error:
        starter_model("starter", spline(WIDE_WITH_Z, WIDE_AGAINST_Z))
    assert "starter:2d" in error.value.hint
    symmetric = 1.2 + np.abs(Z_NM) / 600
    with pytest.raises(ModelError, match="No starter model fits"):
        starter_model("starter", spline(symmetric, symmetric))


def test_the_bundled_starters_are_what_their_names_say() -> None:
    for family, path in starters.installed_starters().items():
        model = read_model(path)
        assert path.stat().st_size <= _LARGEST_BYTES
        assert starter_family(model.calibration) == family
        assert model.network == "fast"
        assert f"`{family}`" in (path.parent / "README.md").read_text("utf-8")


class TestChoice:
    """What the Train page offers."""

    def settings(self, **changes: object) -> ProjectSettings:
        return ProjectSettings().model_copy(update=changes)

    def test_a_new_project_starts_from_what_fits(self) -> None:
        chosen = self.settings().train_start.init
        assert start_choices((), chosen)[0].path == chosen == "auto"

    def test_one_chosen_by_name_stays_in_the_list(self) -> None:
        named = [c.words for c in start_choices((), "starter:2d") if c.path == "starter:2d"]
        assert named == ["Starter 2d"]

    def test_no_calibration_is_no_refusal(self) -> None:
        assert judge_start("starter", self.settings()).level == "doubt"
        assert judge_start("auto", self.settings()).level == "none"

    def test_where_none_fits_the_start_is_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        flat = self.settings(calibration=CalibrationChoice(mode="gaussian_2d"))
        assert judge_start("auto", flat).level == "ok"
        wide = flat.model_copy(update={"training": TrainingConfig(network_options={"width": 96})})
        assert "settings. Learns from nothing" in judge_start("auto", wide).text
        monkeypatch.setattr(starters, "installed_starters", dict)
        assert "PSF. Learns from nothing" in judge_start("auto", flat).text
        broken = self.settings(calibration=CalibrationChoice(mode="file", path=__file__))
        assert judge_start("auto", broken).level == "none"

    def test_one_that_does_not_exist_is_refused(self) -> None:
        flat = CalibrationChoice(mode="gaussian_2d")
        light = judge_start("starter:unheard", self.settings(calibration=flat))
        assert light.level == "bad"
        assert "unheard" in light.text

    def test_a_starter_is_no_file_to_watch(self) -> None:
        for name in ("auto", "starter", "starter:2d"):
            project = Project(settings=self.settings(train_start=TrainStart(init=name)))
            assert watched_paths(project) == ()


def test_who_starts_from_nothing_is_told_of_a_starter_that_fits() -> None:
    flat = CalibrationChoice(mode="gaussian_2d")
    assert judge_start(None, ProjectSettings()).level == "ok"  # no calibration yet
    told = judge_start(None, ProjectSettings(calibration=flat))
    assert told.level == "doubt"
    calibration = CalibrationChoice(
        mode="file", path=str(resource_path("example", "calibration.h5"))
    )
    told = judge_start(None, ProjectSettings(calibration=calibration))
    assert told.level == "doubt"
    assert "starter" in told.text
    other = ProjectSettings(
        calibration=calibration, training=TrainingConfig(network_options={"width": 96})
    )
    assert judge_start(None, other).level == "ok"
    broken = CalibrationChoice(mode="file", path=__file__)
    assert judge_start(None, ProjectSettings(calibration=broken)).level == "ok"


def test_starters_learn_at_the_rate_of_a_beginning() -> None:
    fresh = TrainingConfig().learning_rate
    assert rate_for_start(fresh, "starter") == rate_for_start(fresh, None) == fresh
    assert rate_for_start(fresh, "auto") == fresh
    warm = rate_for_start(fresh, "/a/model.decode")
    assert warm < fresh
    assert rate_for_start(warm, "starter:2d") == fresh
    assert rate_for_start(0.0123, "/a/model.decode") == 0.0123  # the user's own


def test_from_nothing_takes_three_times_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    flat = ProjectSettings(calibration=CalibrationChoice(mode="gaussian_2d"))
    assert not judge_start("auto", flat).from_nothing
    assert judge_start(None, flat).from_nothing
    half_hour = flat.model_copy(update={"training": TrainingConfig(minutes=30.0)})
    assert expectation(half_hour, ["cpu"]).startswith("Ample")
    assert expectation(half_hour, ["cpu"], from_nothing=True).startswith("Enough for sparse")
    monkeypatch.setattr(starters, "installed_starters", dict)
    assert judge_start("auto", flat).from_nothing
