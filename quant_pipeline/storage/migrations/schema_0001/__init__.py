"""The tables as revision 0001 creates them, one module an area. Frozen: later changes are later revisions."""
