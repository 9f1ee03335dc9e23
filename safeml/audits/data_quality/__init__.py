"""Data quality: near duplicates, generated images, labels, poor images and sign tracks from pixels."""
