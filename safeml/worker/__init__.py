"""A worker: opens the model and the data of a run, and measures the slices that the client asks for.

process    the one entry of a worker process: job and task in, reply out
    opening    from a job to the stages, with checked model, data, versions
    follower   the code of a stage, run up to the slice that is asked for
    child      a worker process on this machine: lines of JSON
"""
