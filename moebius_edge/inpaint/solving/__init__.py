"""What solvers have in common: what they are asked for (`protocol`), and what they answer (`table`)."""
