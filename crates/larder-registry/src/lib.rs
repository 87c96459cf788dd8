//! Services and instances: the catalog, leases, and the backends that hold them.
