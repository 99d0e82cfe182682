"""Control tasks: does the noise steer this student?

A task is a function ``run(students, config, ...)`` in a module of its own; it returns a table with a row per model and
sample and the images it looked at. Layout control through the noise takes its place beside these as ``layout.py``.
"""
