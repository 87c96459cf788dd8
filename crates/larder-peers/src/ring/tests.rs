//! The ring against what the Go packages computed, and what their own tests say of theirs.

use std::collections::HashMap;

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../tests/goldens/ring_vectors.json")).unwrap()
}

fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().unwrap();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| value.as_str().unwrap().parse().unwrap())
}

/// What the vectors call a hash.
fn hash(name: &str) -> Option<Hash> {
    fn fnv32(bytes: &[u8], xor_first: bool) -> u64 {
        let step = |hash: u32, byte: &u8| {
            if xor_first {
                (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
            } else {
                hash.wrapping_mul(0x0100_0193) ^ u32::from(*byte)
            }
        };
        u64::from(bytes.iter().fold(0x811c_9dc5, step))
    }
    match name {
        "crc32_ieee" | "fnv1_64" => None,
        "crc32_ieee_as_u64" => Some(Hash::CRC32),
        "fnv1a_64" => Some(Hash::FNV1A),
        "fnv1_32" => Some(Hash::custom(|bytes| fnv32(bytes, false))),
        "fnv1a_32" => Some(Hash::custom(|bytes| fnv32(bytes, true))),
        other => panic!("what is {other}?"),
    }
}

fn ring(vector: &Value) -> (Ring, Vec<String>) {
    let mode = match vector["algo"].as_str().unwrap() {
        "golang" => Mode::Golang,
        "mailgun_v2" => Mode::MailgunV2,
        "galaxycache" => Mode::Galaxycache,
        other => panic!("what is {other}?"),
    };
    let peers = strings(&vector["peers"]);
    let replicas = u32::try_from(number(&vector["replicas"])).unwrap();
    (Ring::new(mode, replicas, hash(vector["hash_fn"].as_str().unwrap()), &peers), peers)
}

#[test]
fn every_owner_is_the_one_that_the_go_packages_computed() {
    let vectors = vectors();
    let keys: Vec<_> = vectors["keys_hex"].as_array().unwrap().iter().map(bytes).collect();
    let mut checked = 0;
    for vector in vectors["rings"].as_array().unwrap() {
        let (ring, _) = ring(vector);
        let about = (&vector["name"], &vector["algo"], &vector["hash_fn"], &vector["replicas"]);
        for (key, owner) in keys.iter().zip(vector["owners"].as_array().unwrap()) {
            assert_eq!(ring.owner(key).unwrap() as u64, number(owner), "{about:?} {key:?}");
            checked += 1;
        }
        for special in vector["special"].as_array().into_iter().flatten() {
            let key = bytes(&special["key_hex"]);
            let owner = number(&special["owner"]);
            assert_eq!(ring.owner(&key).unwrap() as u64, owner, "{about:?} {special}");
            checked += 1;
        }
        assert_eq!(ring.points() as u64, number(&vector["distinct_points"]), "{about:?}");
    }
    assert_eq!(checked, 6_004);
}

#[test]
fn the_load_of_each_peer_is_what_the_go_packages_computed() {
    for vector in vectors()["rings"].as_array().unwrap() {
        let (ring, peers) = ring(vector);
        let mut load = vec![0_u64; peers.len()];
        (0..100_000).for_each(|n| load[ring.owner(format!("key-{n}").as_bytes()).unwrap()] += 1);
        let expected = vector["distribution_key_0_to_99999"].as_array().unwrap();
        assert_eq!(load, expected.iter().map(number).collect::<Vec<_>>(), "{}", vector["name"]);
    }
}

#[test]
fn hashes_are_those_of_the_go_packages() {
    for vector in vectors()["hashes"].as_array().unwrap() {
        let input = bytes(&vector["input_hex"]);
        assert_eq!(Hash::CRC32.of(&input), number(&vector["crc32_ieee"]));
        assert_eq!(Hash::FNV1.of(&input), number(&vector["fnv1_64"]));
        assert_eq!(Hash::FNV1A.of(&input), number(&vector["fnv1a_64"]));
        let md5 = hash::md5_hex(&input);
        assert_eq!(md5, vector["md5_hex"].as_str().unwrap());
        assert_eq!(Hash::FNV1.of(md5.as_bytes()), number(&vector["fnv1_64_of_md5_hex"]));
    }
}

#[test]
fn a_ring_of_groupcache_go_v3_is_mailguns_over_host_and_port() {
    let vectors = vectors();
    let vector = &vectors["upstream_v3_TestPeers"];
    let peers = strings(&vector["peers"]);
    let ring = Ring::new(Mode::GroupcacheGoV3, 50, None, &peers);
    let mut load = [0; 3];
    for key in strings(&vector["keys"]) {
        load[ring.owner(key.as_bytes()).unwrap()] += 1;
    }
    assert_eq!(load, [96, 38, 66]);
}

/// The digits themselves, as the Go tests have it.
fn digits(bytes: &[u8]) -> u64 {
    std::str::from_utf8(bytes).unwrap().parse().unwrap()
}

fn owner<'a>(ring: &Ring, identities: &[&'a str], key: &str) -> &'a str {
    identities[ring.owner(key.as_bytes()).unwrap()]
}

#[test]
fn a_key_belongs_to_the_next_point_and_beyond_the_last_to_the_first() {
    for mode in [Mode::Golang, Mode::Galaxycache] {
        // Points 2, 4, 6, 12, 14, 16, 22, 24, 26.
        let mut identities = vec!["6", "4", "2"];
        let ring = Ring::new(mode, 3, Some(Hash::custom(digits)), &identities);
        for (key, peer) in [("2", "2"), ("11", "2"), ("23", "4"), ("27", "2")] {
            assert_eq!(owner(&ring, &identities, key), peer, "{mode:?} {key}");
        }
        identities.push("8");
        let ring = Ring::new(mode, 3, Some(Hash::custom(digits)), &identities);
        assert_eq!(owner(&ring, &identities, "27"), "8");
    }
}

#[test]
fn five_hundred_replicas_give_the_owners_of_the_go_tests() {
    let mut identities = vec!["6", "4", "2"];
    let ring = Ring::new(Mode::MailgunV2, 512, None, &identities);
    for (key, peer) in [("12,000", "4"), ("11", "6"), ("500,000", "4"), ("1,000,000", "2")] {
        assert_eq!(owner(&ring, &identities, key), peer, "{key}");
    }
    identities.push("8");
    let ring = Ring::new(Mode::MailgunV2, 512, None, &identities);
    for (key, peer) in [("11", "8"), ("1,000,000", "8")] {
        assert_eq!(owner(&ring, &identities, key), peer, "{key}");
    }
    let ring = Ring::new(Mode::GroupcacheGoV3, 512, None, &["a", "b", "c"]);
    for (key, place) in [("Bob", 0), ("Johnny", 1), ("Rick", 2)] {
        assert_eq!(ring.owner(key.as_bytes()), Some(place), "{key}");
    }
}

#[test]
fn a_ring_of_nobody_has_no_owners_and_a_ring_of_one_has_one() {
    for mode in Mode::ALL {
        assert_eq!(Ring::new(mode, 50, None, &[] as &[&str]).owner(b"key"), None);
        let one = Ring::new(mode, 50, None, &["http://a:1"]);
        assert_eq!((one.owner(b""), one.second_owner(b"")), (Some(0), None));
    }
}

#[test]
fn shared_points_are_counted_and_in_golang_the_later_peer_has_them() {
    let pair = ["http://cache-rhfsh.svc:8080", "http://cache-kh22c.svc:8080"];
    let one = Ring::new(Mode::Golang, 50, None, &pair);
    let other = Ring::new(Mode::Golang, 50, None, &[pair[1], pair[0]]);
    assert_eq!((one.shared_points(), one.points()), (16, 84));
    let keys = (0..100_000).map(|n| format!("key-{n}"));
    let differ =
        keys.filter(|key| one.owner(key.as_bytes()) == other.owner(key.as_bytes())).count();
    assert!((6_000..8_000).contains(&differ), "{differ}: 6.8 % have another owner");
    assert_eq!(Ring::new(Mode::MailgunV2, 50, None, &pair).shared_points(), 0);
}

fn load(mode: Mode, peers: usize, keys: impl Iterator<Item = String>) -> Vec<u32> {
    let identities: Vec<_> = (1..=peers).map(|n| format!("http://10.0.0.{n}:8080")).collect();
    let ring = Ring::new(mode, 50, None, &identities);
    let mut load = vec![0; peers];
    keys.for_each(|key| load[ring.owner(key.as_bytes()).unwrap()] += 1);
    load
}

fn spread(load: &[u32]) -> f64 {
    let (most, least) = (load.iter().max().unwrap(), load.iter().min().unwrap());
    f64::from(*most) / f64::from(*least)
}

#[test]
fn a_native_ring_loads_its_peers_evenly() {
    for name in ["user:", "key-"] {
        let keys = || (0..100_000).map(move |n| format!("{name}{n}"));
        let native = spread(&load(Mode::Native, 16, keys()));
        let mailgun = spread(&load(Mode::MailgunV2, 16, keys()));
        println!("{name}N over 16 peers: native {native:.3}, mailgun {mailgun:.2}");
        assert!(native <= 1.15, "{name}: {native}");
        assert!(mailgun > 2.0, "there is no need for a better one any more: {mailgun}");
    }
    let few = spread(&load(Mode::Native, 3, (0..3_000).map(|n| format!("10.0.0.{n}"))));
    assert!(few <= 1.15, "{few}");
}

#[test]
fn neighbouring_keys_have_different_owners_in_a_native_ring() {
    let keys = (0..40).map(|n| format!("key-{n}"));
    assert!(load(Mode::Native, 3, keys.clone()).iter().all(|load| *load >= 5));
    assert!(load(Mode::MailgunV2, 3, keys).contains(&40), "all of mailgun's have one owner");
}

proptest! {
    #[test]
    fn only_the_keys_of_a_peer_that_leaves_move(
        identities in proptest::collection::hash_set("[a-z]{1,8}", 2..20),
        keys in proptest::collection::vec(".{0,12}", 1..50),
        gone in any::<proptest::sample::Index>(),
    ) {
        let all: Vec<_> = identities.into_iter().collect();
        let gone = all[gone.index(all.len())].clone();
        let rest: Vec<_> = all.iter().filter(|identity| **identity != gone).cloned().collect();
        for mode in Mode::ALL {
            let (before, after) = (Ring::new(mode, 10, None, &all), Ring::new(mode, 10, None, &rest));
            // A shared point goes to the other peer that has it.
            if before.shared_points() > 0 {
                continue;
            }
            for key in &keys {
                let (old, new) = (before.owner(key.as_bytes()), after.owner(key.as_bytes()));
                let (old, new) = (&all[old.unwrap()], &rest[new.unwrap()]);
                prop_assert!(*old == gone || old == new, "{:?} {} moved", mode, key);
                if *old == gone {
                    let second = before.second_owner(key.as_bytes()).unwrap();
                    prop_assert_eq!(&all[second], new, "{:?} {}", mode, key);
                }
            }
        }
    }

    #[test]
    fn the_order_of_peers_does_not_matter_but_for_golangs_shared_points(
        identities in proptest::collection::hash_set("[a-z]{1,8}", 1..20),
        key in ".{0,12}",
    ) {
        let one: Vec<_> = identities.into_iter().collect();
        let other: Vec<_> = one.iter().rev().cloned().collect();
        for mode in Mode::ALL {
            let (first, second) = (Ring::new(mode, 10, None, &one), Ring::new(mode, 10, None, &other));
            if mode == Mode::Golang && first.shared_points() > 0 {
                continue;
            }
            let owners = (first.owner(key.as_bytes()), second.owner(key.as_bytes()));
            prop_assert_eq!(&one[owners.0.unwrap()], &other[owners.1.unwrap()], "{:?}", mode);
        }
    }
}

#[test]
fn every_mode_is_found_by_its_name() {
    let named: HashMap<_, _> = Mode::ALL.into_iter().map(|mode| (mode.name(), mode)).collect();
    assert_eq!(named.len(), Mode::ALL.len());
    for (name, mode) in named {
        assert_eq!(Mode::named(name), Some(mode));
    }
    assert_eq!(Mode::named("mailgun"), None);
}
