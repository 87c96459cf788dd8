//! Between go-micro's JSON and Larder's model: what the backends over go-micro's registries share.
//!
//! go-micro keeps a node of a service as one piece of JSON, of one form in etcd and of another in the
//! TXT records of multicast DNS. [`mapping`] knows both, and nothing of where they are kept.

pub mod mapping;
