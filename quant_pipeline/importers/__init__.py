"""Files into bars: reading, judging and storing price files of known families. No venue, no clock."""
