"""App packages: a bundle, the loop in a platform's own language, a screen, licences and the self-test."""
