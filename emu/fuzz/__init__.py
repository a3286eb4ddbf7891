"""Questions to a lookup: generated, searched for wrong answers, and shrunk."""
