//! Writes a small answer whole. hyper hands over head and body as two pieces, and for two pieces the system is slower than to
//! copy a kilobyte.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use hyper::rt::{Read, ReadBufCursor, Write};

/// More than this is written in pieces, without a copy.
const COPIED_MAX: usize = 16 * 1024;

/// A stream that joins small pieces.
pub(super) struct Whole<T> {
    stream: T,
    /// what was joined, for its memory
    joined: Vec<u8>,
}

impl<T> Whole<T> {
    pub(super) fn new(stream: T) -> Self {
        Self { stream, joined: Vec::new() }
    }
}

impl<T: Read + Unpin> Read for Whole<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<T: Write + Unpin> Write for Whole<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { stream, joined } = &mut *self;
        if pieces.len() < 2 || pieces.iter().map(|piece| piece.len()).sum::<usize>() > COPIED_MAX {
            return Pin::new(stream).poll_write_vectored(cx, pieces);
        }
        joined.clear();
        pieces.iter().for_each(|piece| joined.extend_from_slice(piece));
        Pin::new(stream).poll_write(cx, joined)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use hyper_util::rt::TokioIo;
    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// What arrives when these pieces are written at once to a stream that takes so many bytes at a time.
    async fn arrived(pieces: &[&[u8]], room: usize) -> (usize, Vec<u8>) {
        let (near, mut far) = tokio::io::duplex(room);
        let mut near = Whole::new(TokioIo::new(near));
        let pieces: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let written = poll_fn(|cx| Pin::new(&mut near).poll_write_vectored(cx, &pieces)).await.unwrap();
        drop(near);
        let mut all = Vec::new();
        far.read_to_end(&mut all).await.unwrap();
        (written, all)
    }

    #[tokio::test]
    async fn small_pieces_are_one_write() {
        assert_eq!(arrived(&[b"head", b"body"], 64).await, (8, b"headbody".to_vec()));
    }

    #[tokio::test]
    async fn what_does_not_fit_is_left_to_the_caller() {
        assert_eq!(arrived(&[b"head", b"body"], 6).await, (6, b"headbo".to_vec()));
    }

    #[tokio::test]
    async fn large_pieces_are_not_copied() {
        let body = vec![b'x'; COPIED_MAX];
        let (near, _far) = tokio::io::duplex(2 * COPIED_MAX);
        let mut near = Whole::new(TokioIo::new(near));
        let pieces = [IoSlice::new(b"head"), IoSlice::new(&body)];
        assert!(poll_fn(|cx| Pin::new(&mut near).poll_write_vectored(cx, &pieces)).await.unwrap() > 0);
        assert_eq!(near.joined.capacity(), 0);
    }
}
