//! Larder's registry in a real etcd, which every test starts for itself: Debian's packages
//! `etcd-server` and `etcd-client`. Without them the tests fail, and say so.

mod conformance;
mod go_micro;
mod sharing;
mod support;
mod watching;
