"""Engine facts from a Prometheus server that scrapes the replicas already."""
