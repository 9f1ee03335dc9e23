"""Image corruptions: the published ones and those of the road, batched and seeded per image.

    rows      one row a corruption: title, group, function, constants of five severities, source
    engine    `corrupt`: checks, random numbers, chunks, rounding
    draws     counter-based random numbers of each image
    filters   linear filters and resampling of a batch
    noise, blur, weather, digital, road, camera, view    the functions

numpy, scipy.ndimage and Pillow only. Every texture is made in code.
"""
