"""What the desk remembers: PostgreSQL (bars, decisions, ledger, versions) and the lake of recomputable tables."""
