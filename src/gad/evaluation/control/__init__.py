"""Control tasks: does the noise steer this student?

Each task is a module of its own with three functions; ``tasks.py`` describes and lists them.
"""
