"""Peers of Go's groupcache families, in one ring with Larders."""
