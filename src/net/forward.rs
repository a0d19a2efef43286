//! Transports that read and write by what they hold.

/// Reads from what a stream holds.
macro_rules! reads_from {
    ($stream:ident: $($held:pat => $inner:expr),+) => {
        impl tokio::io::AsyncRead for $stream {
            fn poll_read(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buffer: &mut tokio::io::ReadBuf<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                match self.get_mut() { $($held => std::pin::Pin::new($inner).poll_read(cx, buffer)),+ }
            }
        }
    };
}

/// Writes to what a stream holds.
macro_rules! writes_to {
    ($stream:ident: $($held:pat => $inner:expr),+) => {
        impl tokio::io::AsyncWrite for $stream {
            fn poll_write(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                bytes: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                match self.get_mut() { $($held => std::pin::Pin::new($inner).poll_write(cx, bytes)),+ }
            }

            fn poll_write_vectored(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                slices: &[std::io::IoSlice<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                match self.get_mut() { $($held => std::pin::Pin::new($inner).poll_write_vectored(cx, slices)),+ }
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<std::io::Result<()>> {
                match self.get_mut() { $($held => std::pin::Pin::new($inner).poll_flush(cx)),+ }
            }

            fn poll_shutdown(self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<std::io::Result<()>> {
                match self.get_mut() { $($held => std::pin::Pin::new($inner).poll_shutdown(cx)),+ }
            }
        }
    };
}

pub(super) use {reads_from, writes_to};
