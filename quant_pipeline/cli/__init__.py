"""The command `quant`: options in, tables or JSON out. What is done belongs to the packages below."""
