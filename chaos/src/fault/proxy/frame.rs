//! Frames: what is read of them, and how they are made anew.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion};

use crate::broker::outgoing::{answered, sealed};
use crate::broker::shape;

/// Newest Produce that names topics by their names.
pub(super) const PRODUCE: i16 = 12;

/// The fixed part of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) key: i16,
    pub(super) api: Option<ApiKey>,
    pub(super) version: i16,
    pub(super) correlation: i32,
}

impl Head {
    /// Of a frame without its length; `None` when it is too short for a request.
    pub(super) fn read(frame: &[u8]) -> Option<Self> {
        let mut fixed = frame.get(..8)?;
        let (key, version, correlation) = (fixed.get_i16(), fixed.get_i16(), fixed.get_i32());
        Some(Self { key, api: ApiKey::try_from(key).ok(), version, correlation })
    }

    /// The API's name as in histories.
    pub(super) fn name(&self) -> String {
        self.api.map_or_else(|| format!("api {}", self.key), |api| format!("{api:?}"))
    }

    /// Header and body of a request whose body may be decoded.
    pub(super) fn split(&self, frame: &Bytes) -> Option<(Bytes, Bytes)> {
        let api = self.api?;
        let mut body = frame.clone();
        RequestHeader::decode(&mut body, api.request_header_version(self.version)).ok()?;
        let header = frame.slice(..frame.len().checked_sub(body.len())?);
        shape::sound(api, self.version, &body).then_some((header, body))
    }

    /// Decodes the whole body; `None` when it is not one or something is left.
    pub(super) fn request<R: Decodable>(&self, frame: &Bytes) -> Option<(Bytes, R)> {
        let (header, mut body) = self.split(frame)?;
        let request = R::decode(&mut body, self.version).ok()?;
        body.is_empty().then_some((header, request))
    }

    /// A request with this header and another body, length included.
    pub(super) fn renew<R: Encodable>(&self, header: &[u8], body: &R) -> Option<Bytes> {
        let mut out = BytesMut::new();
        out.put_i32(0);
        out.extend_from_slice(header);
        body.encode(&mut out, self.version).ok()?;
        Some(sealed(out)?.freeze())
    }

    /// Decodes an answer (length included); `None` when it is none to this request.
    pub(super) fn answer<R>(&self, frame: &Bytes) -> Option<R>
    where
        R: Decodable + HeaderVersion,
    {
        let mut body = frame.slice(4.min(frame.len())..);
        ResponseHeader::decode(&mut body, R::header_version(self.version)).ok()?;
        if !shape::sound_answer(self.api?, self.version, &body) {
            return None;
        }
        let answer = R::decode(&mut body, self.version).ok()?;
        body.is_empty().then_some(answer)
    }

    /// An answer to this request, length included.
    pub(super) fn reply<R>(&self, body: &R) -> Option<Bytes>
    where
        R: Encodable + HeaderVersion,
    {
        answered(self.correlation, self.version, body)
    }

    /// The error at the top of an answer (length included) that has one; 0 elsewhere.
    pub(super) fn top(&self, frame: &[u8]) -> i16 {
        let flexible = self.api.is_some_and(|api| api.response_header_version(self.version) > 0);
        let body = if flexible { 9 } else { 8 };
        let at = match (self.api, self.version) {
            (Some(ApiKey::ApiVersions), _) => 8,
            (Some(ApiKey::FindCoordinator), 0) => body,
            (Some(ApiKey::FindCoordinator), 1..=3) | (Some(ApiKey::InitProducerId), _) => body + 4,
            _ => return 0,
        };
        frame.get(at..at + 2).map_or(0, |mut code| code.get_i16())
    }
}

/// A frame as it goes on: its length, then itself.
pub(super) fn whole(frame: &Bytes) -> Option<Bytes> {
    let mut out = BytesMut::with_capacity(4 + frame.len());
    out.put_i32(i32::try_from(frame.len()).ok()?);
    out.extend_from_slice(frame);
    Some(out.freeze())
}
