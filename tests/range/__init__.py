"""A traffic range in network namespaces: real clients, servers and attack tools, recorded and labelled."""
