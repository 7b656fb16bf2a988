"""Textures: larger pictures that look like a sample everywhere, by a network's statistics or by copying its pixels.

What does not belong: content (that is `synthesis.style`).
"""
