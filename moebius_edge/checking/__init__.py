"""Whether a bundle is right, how fast it is, and how much memory it takes."""
