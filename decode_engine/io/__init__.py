"""Files: movies, calibrations, cameras, models, localizations, run folders."""
