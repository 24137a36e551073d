"""Networks, their scaling, their loss and the decoding of their output."""
