"""How the desk talks to exchanges: clients, errors, the order protocol. Not here: decisions and storage."""
