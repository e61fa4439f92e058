"""The staging stack: real vLLM, the gateway before it, and what stands around them."""
