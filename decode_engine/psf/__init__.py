"""Point spread functions in torch: values, gradients, Fisher information, fitting."""
