"""Traffic signs drawn in code: the data set that needs no download.

`render` is all that the rest of safeml imports from here.

    brush       drawing in sign units        faces, symbols, arrows   what is painted
    catalogue   the 43 classes as data       backgrounds              what stands behind a sign
    approach    size and pose over a track   light                    weather, lens, sensor
    scene       one sign, filmed             tracks                   the data set

numpy and Pillow only. The pictures are synthetic: they exercise every part of safeml, and say nothing about a real road.
"""

from safeml.data.rendered.tracks import render

__all__ = ["render"]
