"""The stage of run-time monitors: fitted on training and validation images, measured on the test images and on images from outside."""
