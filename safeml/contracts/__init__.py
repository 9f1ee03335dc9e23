"""Which input contract does a stranger's model want: candidates, their accuracies on labelled images, and a decision.

Here live `safeml inspect`'s candidates (data), measures (pure), rounds, decision and records. numpy and scipy may be
imported, frameworks may not: a model is seen through the `Model` protocol alone.
"""
