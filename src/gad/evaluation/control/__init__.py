"""Control tasks: does the noise steer this student?

Each task is a module of its own with the three functions that ``task.py`` describes; ``tasks.py`` lists them.
"""
