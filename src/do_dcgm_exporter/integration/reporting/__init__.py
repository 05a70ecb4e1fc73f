"""Report to people and programs: check as text and JSON, the count of embedded DCGMs."""
