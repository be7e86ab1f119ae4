"""Measure on phones: what their apps report, how it is fetched, and the report that shows it."""
