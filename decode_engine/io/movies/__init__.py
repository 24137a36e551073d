"""Movies: `open_movie` reads any of them piece by piece, `write_movie` writes TIFF."""

from decode_engine.io.movies.opening import open_movie
from decode_engine.io.movies.source import FrameSource, MovieMetadata
from decode_engine.io.movies.writing import MovieWriter, write_movie

__all__ = ["FrameSource", "MovieMetadata", "MovieWriter", "open_movie", "write_movie"]
