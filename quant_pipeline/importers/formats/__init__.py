"""One module per family of files: how it is recognised and laid out. Reading and checking are the same for all."""
