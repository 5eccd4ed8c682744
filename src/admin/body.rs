//! The body of an answer: a text, or lines as they arrive.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Bytes, Frame, SizeHint};

use crate::pipeline::tap::Tapped;

/// The body of an answer.
#[derive(Debug)]
pub(super) enum Body {
    /// A text; `None` once it was sent.
    Text(Option<Bytes>),
    /// Lines of a tap, for as long as the client reads them.
    Lines(Tapped),
}

impl Body {
    /// The lines of a tap.
    pub(super) fn lines(tapped: Tapped) -> Self {
        Self::Lines(tapped)
    }

    /// Whether it has no end of its own.
    pub(super) fn is_endless(&self) -> bool {
        matches!(self, Self::Lines(_))
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::Text(Some(text.into()).filter(|text: &Bytes| !text.is_empty()))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = match &mut *self {
            Self::Text(text) => Poll::Ready(text.take()),
            Self::Lines(tapped) => tapped.lines.poll_recv(context).map(|line| line.map(Bytes::from)),
        };
        next.map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Text(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Self::Lines(_) => SizeHint::new(),
        }
    }
}
