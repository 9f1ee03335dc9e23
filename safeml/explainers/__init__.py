"""Attribution methods: which pixels of an image a prediction depends on."""
