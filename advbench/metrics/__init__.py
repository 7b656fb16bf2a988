"""Numbers from stored rows: rates with their intervals, robust accuracy, worst case over attacks, distances.

Here: functions from tables to numbers. Not here: running anything, reading files, drawing.
"""
