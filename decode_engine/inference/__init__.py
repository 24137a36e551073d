"""From movie to localizations with a trained network."""
