"""A trading desk as a graph of data assets; importing the package itself does nothing."""
