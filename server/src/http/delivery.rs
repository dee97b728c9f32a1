//! Whether an answer was delivered.
//!
//! A caller that cannot ask again must not be left with a lock that it does not know of. So its answer
//! carries a [`Receipt`], which is signed when the whole answer was handed to the system while the
//! caller had not hung up. Otherwise nothing of the answer's rest is written, the connection is over,
//! and the receipt has the lock ended.
//!
//! The runtime cannot be relied on to tell of the end in time: it says what it saw when it looked last,
//! and an answer that needs no disk is ready before it looks again. So the system is asked before each
//! write. What happens to bytes after they were handed to the system cannot be told.

use crate::{call::Receipt, unread::Unread};
use axum::{
    Json,
    body::{Body, HttpBody},
    response::{IntoResponse, Response},
};
use hyper::body::{Bytes, Frame, SizeHint};
use lockwright_env::Connection;
use serde::Serialize;
use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// An answer in JSON, and what is to be signed when it was delivered.
pub(super) struct Delivered<T> {
    pub(super) answer: T,
    pub(super) receipt: Option<Receipt>,
}

/// A receipt on its way from a handler to the connection. Extensions of a response can be cloned, and
/// a receipt is one.
#[derive(Clone)]
struct InResponse(Arc<Mutex<Option<Receipt>>>);

impl<T: Serialize> IntoResponse for Delivered<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.answer).into_response();
        if let Some(receipt) = self.receipt {
            let receipt = InResponse(Arc::new(Mutex::new(Some(receipt))));
            response.extensions_mut().insert(receipt);
        }
        response
    }
}

/// Receipts of answers that are in the connection's buffers.
#[derive(Clone, Default)]
pub(super) struct Owed(Arc<Mutex<Vec<Receipt>>>);

impl Owed {
    fn receipts(&self) -> MutexGuard<'_, Vec<Receipt>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_empty(&self) -> bool {
        self.receipts().is_empty()
    }

    /// All that was in the buffers was handed to the system.
    fn delivered(&self) {
        self.receipts().drain(..).for_each(Receipt::sign);
    }
}

/// Has the receipt of a response, if it has one, owed from the moment at which all of the response is
/// in the connection's buffers.
pub(super) fn owe(mut response: Response, owed: Owed) -> Response {
    let Some(InResponse(receipt)) = response.extensions_mut().remove() else {
        return response;
    };
    let receipt = receipt
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    response.map(|body| {
        Body::new(Counted {
            body,
            receipt,
            owed,
        })
    })
}

/// The body of an answer with a receipt. It is dropped when all of it is in the connection's buffers, or
/// when the connection is over.
struct Counted {
    body: Body,
    receipt: Option<Receipt>,
    owed: Owed,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.owed.receipts().extend(self.receipt.take());
    }
}

/// A connection that knows what is owed on it, and counts what comes.
pub(super) struct Wire<S> {
    stream: S,
    owed: Owed,
    unread: Arc<Unread>,
    /// How often bytes were taken.
    written: Arc<AtomicUsize>,
}

impl<S: Connection> Wire<S> {
    pub(super) fn new(
        stream: S,
        owed: Owed,
        unread: Arc<Unread>,
        written: Arc<AtomicUsize>,
    ) -> Wire<S> {
        Wire {
            stream,
            owed,
            unread,
            written,
        }
    }

    /// An answer that is owed is for a caller that is there.
    fn check(&mut self) -> io::Result<()> {
        if !self.owed.is_empty() && self.stream.has_hung_up() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }
}

impl<S: Connection> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        Poll::Ready(self.unread.add(buffer.filled().len() - before))
    }
}

impl<S: Connection> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        let taken = ready!(Pin::new(&mut self.stream).poll_write(context, bytes));
        self.written.fetch_add(1, Relaxed);
        Poll::Ready(taken)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        let taken = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, bytes));
        self.written.fetch_add(1, Relaxed);
        Poll::Ready(taken)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// It is called when the buffers before it are empty.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.owed.delivered();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
