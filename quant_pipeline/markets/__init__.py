"""What a market is: its sessions, venue, currency, fees, ticks and lots. No I/O, no clock, no settings."""
