"""Our figures beside a peer's, measured in one run. Timings are printed and never fail anything."""
