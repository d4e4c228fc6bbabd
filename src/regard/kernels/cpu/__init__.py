"""The C++ kernels: every mechanism in linear memory, forward and backward, and looking at the speed of a forward."""
