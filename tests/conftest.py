"""What every test shares."""

from hypothesis import settings

# How long an example takes says how busy the machine is, and nothing about the code.
settings.register_profile("safeml", deadline=None)
settings.load_profile("safeml")
