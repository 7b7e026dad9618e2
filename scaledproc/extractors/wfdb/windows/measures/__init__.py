"""What is measured of the samples of a window: whole numbers, what follows, beats."""
