"""The device side: what verifies, tests, runs and updates a bundle. Python 3.6 to 3.12, standard library and NumPy; the rest is imported where it is used.

A device carries this folder and `monitors/` as one package, `safeml_edge`; the modules import each other relatively. What a device
believes is in `verify`: the order of its checks is the order of the functions there.
"""

from .version import VERSION

__all__ = ["VERSION"]
