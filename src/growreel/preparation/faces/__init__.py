"""Clips of faces out of films: shots, faces, tracks, steady windows, and the rules by which a clip is refused."""
