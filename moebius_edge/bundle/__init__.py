"""What a bundle is, and whether one is whole."""
