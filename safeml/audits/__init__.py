"""One file a stage: a model and data go in, records come out. No thresholds, no framework; fairlearn and pandas may be used."""
