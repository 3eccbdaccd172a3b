//! As much of delta ADS over gRPC as a proxy needs that takes everything and keeps nothing: it is told of changes and
//! acknowledges them. Written anew rather than taken from the control plane's own crate, whose mistakes it would share.

use anyhow::{Context, bail, ensure};
use bytes::{Buf as _, Bytes, BytesMut};

/// The path of the stream.
pub const PATH: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
/// Workloads and services.
pub const ADDRESSES: &str = "type.googleapis.com/istio.workload.Address";
/// Policies.
pub const POLICIES: &str = "type.googleapis.com/istio.security.Authorization";
/// Before each message: not compressed, and its length.
const PREFIX: usize = 5;

/// What matters of an answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The type of its resources.
    pub type_url: String,
    /// What the acknowledgement repeats.
    pub nonce: String,
    /// Resources that are new or changed.
    pub resources: usize,
}

/// A request, framed: the first of a stream with the node's name, an acknowledgement with a nonce.
pub fn request(node: Option<&str>, type_url: &str, nonce: &str) -> Bytes {
    let mut message = Vec::new();
    if let Some(node) = node {
        let mut inner = Vec::new();
        field(&mut inner, 1, node.as_bytes());
        field(&mut inner, 2, b"Kubernetes");
        field(&mut message, 1, &inner);
    }
    field(&mut message, 2, type_url.as_bytes());
    if !nonce.is_empty() {
        field(&mut message, 6, nonce.as_bytes());
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[0][..], &length, &message].concat().into()
}

/// Takes a whole message off what was read, or nothing yet.
pub fn message(read: &mut BytesMut) -> anyhow::Result<Option<Bytes>> {
    let Some((&[compressed, length @ ..], _)) = read.split_first_chunk::<PREFIX>() else { return Ok(None) };
    ensure!(compressed == 0, "a compressed message");
    let length = usize::try_from(u32::from_be_bytes(length))?;
    if read.len() < PREFIX + length {
        return Ok(None);
    }
    read.advance(PREFIX);
    Ok(Some(read.split_to(length).freeze()))
}

/// Reads an answer.
pub fn answer(mut message: &[u8]) -> anyhow::Result<Answer> {
    let mut answer = Answer::default();
    while !message.is_empty() {
        let key = varint(&mut message)?;
        ensure!(key & 7 == 2, "a field of an unexpected kind: {key}");
        let length = usize::try_from(varint(&mut message)?)?;
        let value = message.get(..length).context("a field is cut off")?;
        message = message.get(length..).unwrap_or_default();
        match key >> 3 {
            2 => answer.resources += 1,
            4 => answer.type_url = String::from_utf8(value.to_vec())?,
            5 => answer.nonce = String::from_utf8(value.to_vec())?,
            _ => {}
        }
    }
    Ok(answer)
}

fn field(to: &mut Vec<u8>, number: u8, value: &[u8]) {
    to.push(number << 3 | 2);
    let mut length = value.len();
    while length >= 0x80 {
        to.push(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
        length >>= 7;
    }
    to.push(u8::try_from(length).unwrap_or_default());
    to.extend(value);
}

fn varint(from: &mut &[u8]) -> anyhow::Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = from.split_first().context("a number is cut off")?;
        *from = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    bail!("a number without an end")
}
