"""Scale-out: the slices of a run, measured by several processes and stored in one run folder.

base        what the client and a worker send each other        shards      cuts, sends, verifies and stores slices (client)
    processes   workers on this machine, standard library only      cluster     workers of a Dask scheduler (the extra `dask`)
    start       from the options of a command to running workers    identity    what must be equal on every worker
    remote      the function that a worker of Dask runs

The worker's side is `safeml.worker`. A worker runs the code of the stage too, up to the slice that it is asked for; so the
client sends names of slices, never code or models. This package knows no stage, model or data.
"""
