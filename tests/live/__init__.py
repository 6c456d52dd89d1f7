"""Live capture in network namespaces that the tests make and remove; nothing leaves them."""
