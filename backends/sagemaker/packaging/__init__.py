"""What is shipped to the machines: an image, a wheel, a bundle of code."""
