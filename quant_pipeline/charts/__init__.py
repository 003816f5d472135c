"""Pictures of stored data as HTML files. What they show is handed in; nothing is read or computed here."""
