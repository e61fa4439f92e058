"""Load tests, drills and what they recorded. Nothing imports this package: locust patches its process."""
