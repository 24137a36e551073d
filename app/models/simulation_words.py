"""What a simulation shows, in words."""

from __future__ import annotations

from decode_engine.contract.configs import SimulationConfig

__all__ = ["molecule_words", "photon_words"]


def molecule_words(simulation: SimulationConfig) -> str:
    """Return densities and brightness: "0.3–2.5 molecules/µm² with about 3,500 photons each"."""
    return (
        f"{simulation.density_min_per_um2:g}–{simulation.density_max_per_um2:g} molecules/µm² "
        f"with {photon_words(simulation)} each"
    )


def photon_words(simulation: SimulationConfig) -> str:
    """Return the mean flux, or the range of means where samples are bright or dim as a whole."""
    mean, spread = simulation.flux_mean, simulation.flux_spread
    if spread == 1:
        return f"about {mean:,.0f} photons"
    return f"about {mean / spread:,.0f} to {mean * spread:,.0f} photons"
