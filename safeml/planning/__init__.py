"""Plans of audits: work, duration and provable gates, before the audit runs.

base        the records of a plan        perfect     a model with known mistakes, as stored work
    wrong       the misclassified signs      best_case   the stages and gates on such a model
    cost        the amount of computation    probe       the speed of this machine
    training    cost of a recipe             words       the sentences
    plan        the whole plan

This package writes no file. Only `probe` and `training` import a framework.
"""
