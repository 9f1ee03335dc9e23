"""safeml: robustness and safety audits of image classifiers. Importing it imports no framework."""
