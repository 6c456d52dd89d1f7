"""What is inside where nothing else is said; apart, because the configuration reads it without any kernel."""

#: Private, shared and link-local addresses.
HOME_NETWORKS = (
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "fc00::/7",
    "fe80::/10",
)
