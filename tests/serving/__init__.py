"""Triton Inference Server with the example of examples/triton, and what is asked of it."""
