"""Consul's clients, run against Larder, against Larder in front of a server, and against Consul itself."""
