"""Rendered traffic signs: the data set that needs no download.

The rest of safeml imports only `render`.

    brush       drawing in sign units        faces, symbols, arrows   the painted parts
    catalogue   the 43 classes as data       backgrounds              textures behind a sign
    approach    size and pose over a track   light                    weather, lens, sensor
    scene       one sign, filmed             tracks                   the data set

numpy and Pillow only. The images are synthetic: they exercise every part of safeml but are no evidence for real roads.
"""

from safeml.data.rendered.tracks import render

__all__ = ["render"]
