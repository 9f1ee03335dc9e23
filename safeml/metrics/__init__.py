"""Pure functions of arrays: no data sets, no models, no settings. numpy only."""
