//! A stream of answers as gRPC's frames (gRPC over HTTP/2, "Length-Prefixed-Message"), each in memory of its own, exactly
//! as large as it is. tonic's encoder writes one after the other into a buffer that stays as large as the largest answer:
//! for a proxy that is everything, once, and thousands of proxies would each keep as much for good.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::Stream;
use http::HeaderMap;
use http_body::Frame;
use prost::Message;
use tonic::Status;

/// The body of an answer.
pub(super) struct Framed<S> {
    answers: S,
    ended: bool,
}

impl<S> Framed<S> {
    pub(super) fn new(answers: S) -> Self {
        Self { answers, ended: false }
    }
}

impl<S, M> http_body::Body for Framed<S>
where
    S: Stream<Item = Result<M, Status>> + Unpin,
    M: Message,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let status = match ready!(Pin::new(&mut self.answers).poll_next(context)) {
            Some(Ok(answer)) => match framed(&answer) {
                Ok(frame) => return Poll::Ready(Some(Ok(Frame::data(frame)))),
                Err(status) => status,
            },
            Some(Err(status)) => status,
            None => Status::ok(""),
        };
        self.ended = true;
        let mut trailers = HeaderMap::new();
        Poll::Ready(Some(status.add_header(&mut trailers).map(|()| Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

/// Not compressed, its length, the message.
fn framed(answer: &impl Message) -> Result<Bytes, Status> {
    let length = answer.encoded_len();
    let prefix =
        u32::try_from(length).map_err(|_| Status::out_of_range("the answer is too long for gRPC"))?;
    let mut frame = BytesMut::with_capacity(5 + length);
    frame.put_u8(0);
    frame.put_u32(prefix);
    answer.encode(&mut frame).map_err(|error| Status::internal(error.to_string()))?;
    Ok(frame.freeze())
}
