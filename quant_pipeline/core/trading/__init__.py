"""What is traded and why: limits, sizes, vetoes, exits and the simulated book, as one compiled kernel with typed doors.

`kernel_*` modules hold compiled functions over arrays; the other modules hold the values and checks around them.
"""
