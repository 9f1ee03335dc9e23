"""Two recorded runs on the same images, and many runs over time: differences, changed gates and loosened limits.

Everything is computed from results.json. A difference is computed image by image where a run records its images (the ledger of
a stage); any other number is listed without a test.
"""
