"""What every room needs and what knows nothing of Moebius: errors, files, progress, timing, the machine."""
