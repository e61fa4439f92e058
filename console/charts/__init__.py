"""View models: facts in, what a person reads out. No Streamlit, no I/O, no clock."""
