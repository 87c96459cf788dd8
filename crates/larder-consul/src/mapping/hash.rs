//! Hashes that are the same in every process and version: FNV-1a.

use std::io;

use crate::wire::AgentService;

/// FNV-1a over 64 bits, fed by writing.
#[derive(Debug)]
struct Fnv(u64);

impl Fnv {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(Self::PRIME);
        }
    }
}

impl io::Write for Fnv {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.add(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What `X-Consul-ContentHash` says of a service: 16 hexadecimal digits that change when anything that is
/// printed of it changes. A hash that it carries does not count.
pub fn agent_service_hash(service: &AgentService<'_>) -> String {
    let mut hash = Fnv(Fnv::OFFSET);
    let unhashed = AgentService { content_hash: "".into(), ..service.clone() };
    serde_json::to_writer(&mut hash, &unhashed).expect("texts and numbers are JSON");
    format!("{:016x}", hash.0)
}

/// The id of a node that has none: a UUID (version 8) made from its name.
pub fn node_id(name: &str) -> String {
    let half = |salt: u8| {
        let mut hash = Fnv(Fnv::OFFSET);
        hash.add(&[salt]);
        hash.add(name.as_bytes());
        // FNV moves the last bytes little: so that names which end alike differ all over.
        hash.add(&[0; 8]);
        hash.0
    };
    let (high, low) = (half(0), half(1));
    let high = high & !0xf000 | 0x8000;
    let low = low & (u64::MAX >> 2) | 1 << 63;
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn fnv_is_the_published_one() {
        let hash = |text: &str| {
            let mut hash = Fnv(Fnv::OFFSET);
            hash.add(text.as_bytes());
            hash.0
        };
        assert_eq!(hash(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(hash("foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_nodes_id_is_a_uuid_that_only_its_name_decides() {
        assert_eq!(node_id("web-1"), node_id("web-1"));
        // Written down: it must be the same after a restart, and in later versions.
        assert_eq!(node_id("web-1"), "bd35dcae-56b6-8685-8060-bfb072f1c47c");
        let ids: HashSet<_> = (0..10_000).map(|n| node_id(&format!("host-{n}"))).collect();
        assert_eq!(ids.len(), 10_000);
        for id in ids {
            let parts: Vec<_> = id.split('-').map(str::len).collect();
            assert_eq!(parts, [8, 4, 4, 4, 12], "{id}");
            assert!(
                id[14..].starts_with('8') && id[19..].starts_with(['8', '9', 'a', 'b']),
                "{id}"
            );
        }
    }

    #[test]
    fn a_content_hash_changes_with_the_content_alone() {
        let service = AgentService { id: "a".into(), ..AgentService::default() };
        let hash = agent_service_hash(&service);
        assert_eq!(hash.len(), 16);
        let hashed = AgentService { content_hash: hash.clone().into(), ..service.clone() };
        assert_eq!(agent_service_hash(&hashed), hash);
        assert_ne!(agent_service_hash(&AgentService { port: 1, ..service }), hash);
    }
}
