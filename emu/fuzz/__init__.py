"""Making questions for a lookup, and making those that it gets wrong small."""
