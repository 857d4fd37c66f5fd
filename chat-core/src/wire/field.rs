//! Reads the fields of clients' frames. What is said of a wrong value is for people who write JSON, not Rust.

use std::fmt::Display;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};

use super::RequestId;
use crate::{Cursor, JsonObject, MessageId, Nonce, RoomId};

macro_rules! fields {
    ($($name:ident: $type:ty = $must_be:literal;)*) => {
        $(pub(super) fn $name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
            must(deserializer, concat!(stringify!($name), " must be ", $must_be))
        })*
    };
}

fields! {
    id: Option<RequestId> = "a whole number of 64 bits, or a string of at most 64 characters";
    content: Option<String> = "a string";
    data: Option<JsonObject> = "an object";
    last: Option<usize> = "a whole number, 0 or above";
    presence: Option<bool> = "true or false";
    limit: Option<usize> = "a whole number, 0 or above";
    before: Option<u64> = "a seq: a whole number from 0 to 2^53-1";
    after: Option<u64> = "a seq: a whole number from 0 to 2^53-1";
}

macro_rules! names {
    ($($name:ident: $type:ty;)*) => {
        $(pub(super) fn $name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<$type>, D::Error> {
            let text: Option<String> = must(deserializer, concat!(stringify!($name), " must be a string"))?;
            text.map(|text| parse(&text)).transpose()
        })*
    };
}

names! {
    room_id: RoomId;
    since: Cursor;
    reply_to: MessageId;
    nonce: Nonce;
}

/// The same as above for fields that may not be left out.
pub(super) mod required {
    use super::*;

    pub(in crate::wire) fn room_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RoomId, D::Error> {
        parse(&must::<_, String>(deserializer, "room_id must be a string")?)
    }

    pub(in crate::wire) fn msg<'de, D: Deserializer<'de>>(deserializer: D) -> Result<MessageId, D::Error> {
        parse(&must::<_, String>(deserializer, "msg must be a string")?)
    }

    pub(in crate::wire) fn content<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        must(deserializer, "content must be a string")
    }
}

fn must<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D, rule: &str) -> Result<T, D::Error> {
    T::deserialize(deserializer).map_err(|_| de::Error::custom(rule))
}

fn parse<T: FromStr<Err: Display>, E: de::Error>(text: &str) -> Result<T, E> {
    text.parse().map_err(E::custom)
}
