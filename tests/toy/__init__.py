"""A stage of another package, a classifier in NumPy, and audits of it that start no framework.

What tests the pipeline, the journal, the lock, signals, kills and the report runs on them: a process takes a second and not five.
"""
