"""What every test shares."""

import os

from hypothesis import settings

# How long an example takes says how busy the machine is, and nothing about the code. The examples are the same each time, so
# that a test which fails was broken by a change; SAFEML_EXPLORE=1 looks at new ones.
settings.register_profile("safeml", deadline=None, derandomize=not os.environ.get("SAFEML_EXPLORE"))
settings.load_profile("safeml")
