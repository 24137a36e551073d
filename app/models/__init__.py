"""State without Qt."""
