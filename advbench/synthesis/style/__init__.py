"""Style: the content of one picture painted as others are, each picture optimised on its own.

Layers that speak of content are held to the photograph, those that speak of texture to the paintings
(`synthesis.texture.comparisons`). What does not belong: networks trained to do this in one pass.
"""
