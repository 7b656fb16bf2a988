"""The 15 common corruptions of Hendrycks and Dietterich 2019 (arXiv:1903.12261), in torch, for batches of any size.

    (image (A, C, H, W) in [0, 1], draws of these samples, constants of the severity) -> image, clipped by the caller

noise, blur, weather and digital hold the functions, `severities` the published constants, `kinds` the table of both.
What does not belong: anything that asks a model.
"""
