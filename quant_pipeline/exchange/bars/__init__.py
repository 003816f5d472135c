"""Where the simulated exchange's prices come from: a seeded generator or files of real bars. No orders, no HTTP."""
