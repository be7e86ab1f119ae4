"""Make app packages: a bundle, its loop in a platform's language, a screen, licences and the self-test."""
