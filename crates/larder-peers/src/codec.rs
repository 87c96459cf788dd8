//! What a group holds, typed, and how it travels as bytes.

use std::hash::Hash;
use std::sync::Arc;

use bytes::Bytes;

/// A value that peers can send each other. In memory it stays what it is: only a peer's request encodes it,
/// and only a peer's answer is decoded.
///
/// It is there for [`Bytes`], `Box<[u8]>`, `Vec<u8>`, `String`, and, in a [`Proto`], for protobuf messages. Of
/// bytes, `Box<[u8]>` is the smallest in memory, and `Bytes` is cloned without a copy.
pub trait Codec: Clone + Send + Sync + Sized + 'static {
    /// As bytes.
    fn encode(&self) -> Bytes;

    /// From the bytes that a peer sent: whatever it likes. They have an allocation of their own.
    fn decode(bytes: Bytes) -> Result<Self, Undecodable>;

    /// How much memory it takes beside its own struct, in bytes; counts against the group's budget.
    ///
    /// Defaults to: as long as it is when encoded.
    fn size(&self) -> usize {
        self.encode().len()
    }
}

/// Bytes that are no value of this type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are no value of this group: {0}")]
pub struct Undecodable(pub String);

impl Codec for Bytes {
    fn encode(&self) -> Bytes {
        self.clone()
    }

    fn decode(bytes: Bytes) -> Result<Self, Undecodable> {
        Ok(bytes)
    }

    fn size(&self) -> usize {
        self.len()
    }
}

impl Codec for Vec<u8> {
    fn encode(&self) -> Bytes {
        Bytes::copy_from_slice(self)
    }

    fn decode(bytes: Bytes) -> Result<Self, Undecodable> {
        Ok(bytes.into())
    }

    fn size(&self) -> usize {
        self.capacity()
    }
}

impl Codec for Box<[u8]> {
    fn encode(&self) -> Bytes {
        Bytes::copy_from_slice(self)
    }

    fn decode(bytes: Bytes) -> Result<Self, Undecodable> {
        Ok(Vec::from(bytes).into())
    }

    fn size(&self) -> usize {
        self.len()
    }
}

impl Codec for String {
    fn encode(&self) -> Bytes {
        Bytes::copy_from_slice(self.as_bytes())
    }

    fn decode(bytes: Bytes) -> Result<Self, Undecodable> {
        Self::from_utf8(bytes.into()).map_err(|error| Undecodable(error.to_string()))
    }

    fn size(&self) -> usize {
        self.capacity()
    }
}

/// A protobuf message as a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Proto<M>(pub M);

impl<M: prost::Message + Clone + Default + 'static> Codec for Proto<M> {
    fn encode(&self) -> Bytes {
        self.0.encode_to_vec().into()
    }

    fn decode(bytes: Bytes) -> Result<Self, Undecodable> {
        M::decode(bytes).map(Self).map_err(|error| Undecodable(error.to_string()))
    }

    fn size(&self) -> usize {
        self.0.encoded_len()
    }
}

/// What values are asked by. On the wire a key is bytes, which need not be UTF-8.
pub trait GroupKey: Hash + Eq + Clone + Send + Sync + Sized + 'static {
    /// As bytes.
    fn as_bytes(&self) -> &[u8];

    /// From bytes that a peer sent; `None` if they are no key of this type.
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

macro_rules! text_keys {
    ($($key:ty),*) => {$(
        impl GroupKey for $key {
            fn as_bytes(&self) -> &[u8] {
                str::as_bytes(self)
            }

            fn from_bytes(bytes: &[u8]) -> Option<Self> {
                std::str::from_utf8(bytes).ok().map(Self::from)
            }
        }
    )*};
}

macro_rules! byte_keys {
    ($($key:ty),*) => {$(
        impl GroupKey for $key {
            fn as_bytes(&self) -> &[u8] {
                self
            }

            fn from_bytes(bytes: &[u8]) -> Option<Self> {
                Some(Self::from(bytes.to_vec()))
            }
        }
    )*};
}

text_keys!(String, Box<str>, Arc<str>);
byte_keys!(Bytes, Vec<u8>, Box<[u8]>, Arc<[u8]>);

#[cfg(test)]
mod tests {
    use super::*;

    fn survives<C: Codec + PartialEq + std::fmt::Debug>(value: C) {
        assert_eq!(C::decode(value.encode()), Ok(value));
    }

    #[test]
    fn values_of_every_type_survive_the_wire() {
        survives(Bytes::from_static(b"\xff\x00"));
        survives(vec![0_u8, 255]);
        survives(Box::<[u8]>::from([0, 255]));
        survives("ключ".to_owned());
        survives(Proto(crate::wire::message::SetRequest {
            key: Some(Bytes::from("k")),
            ..Default::default()
        }));
    }

    #[test]
    fn what_is_no_value_of_the_type_is_refused() {
        let bad = Bytes::from_static(b"\xff\xfe\xfd");
        assert!(String::decode(bad.clone()).is_err());
        assert!(Proto::<crate::wire::message::SetRequest>::decode(bad.clone()).is_err());
        assert_eq!(String::from_bytes(&bad), None);
        assert_eq!(Vec::<u8>::from_bytes(&bad).unwrap().as_bytes(), &bad[..]);
    }
}
