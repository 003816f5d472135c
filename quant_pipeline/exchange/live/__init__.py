"""A dry run: bars and quotes of a real venue's market data in place of a source of our own. No order leaves from here."""
