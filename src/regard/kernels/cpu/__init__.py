"""The C++ kernels for CPUs: every mechanism, forward and backward, and looks, in memory linear in the lengths."""
