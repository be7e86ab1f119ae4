"""Where weights come from, and whether they are sound."""
