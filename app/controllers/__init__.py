"""Decisions: connect models, views and the engine; no layout code."""
