"""Stored results -> one HTML page: reader, tables, figures, pictures, template.

Everything is derived from the files of result folders; no model is loaded and nothing is run. Not here: judging,
choosing samples, computing attributions (all stored by bench).
"""
