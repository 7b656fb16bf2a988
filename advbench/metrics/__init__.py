"""Numbers: from stored rows (rates, robust accuracy, distances), and how true a heat map is to its model.

Here: functions from tables to numbers, and from a model, images and maps to numbers per sample (deletion, infidelity,
randomisation, ...); a method that makes maps comes in as a function. Not here: running attacks, reading files, drawing.
"""
