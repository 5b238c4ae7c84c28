"""Tables shaped like the paper's, and figures."""
