"""How well something detects: on data it has not seen, by protocols that say what "not seen" means."""
