"""Seeded simulation: blinking emitters, background, camera noise, frames."""
