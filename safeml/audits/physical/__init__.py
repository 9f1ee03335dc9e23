"""Threats to the traffic sign itself: stickers, shadows, graffiti, other views, a universal patch."""
