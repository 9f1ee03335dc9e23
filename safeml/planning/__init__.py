"""What an audit will do, how long it takes, and what it can prove at all, told before it runs.

    base        the records of a plan        perfect     a model that is right but for a chosen few, as kept work
    wrong       which signs are wrong        best_case   what the stages record of it, and what the gates say
    cost        how much is computed         probe       how fast this machine computes it
    training    the same of a recipe         words       the sentences
    plan        all of it together

Nothing here writes a file. A framework is imported in `probe` and `training` alone.
"""
