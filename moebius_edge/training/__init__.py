"""How nano was made: the trainings of the autoencoder and the U-Net, and what judges them. Needs torch."""
