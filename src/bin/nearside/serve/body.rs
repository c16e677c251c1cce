//! Request bodies, read to their end even where the answer is no: a connection that is closed while the client still sends loses the
//! answer (RFC 9112, 9.6).

use axum::body::{Body, Bytes};
use futures_util::StreamExt;

use super::error::ApiError;

/// Most bytes beyond the limit that are read only to be dropped.
const DROPPED: usize = 64 << 20;

/// The body, of at most `limit` bytes.
pub async fn read(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let mut bytes = Vec::new();
    let mut total = 0usize;
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|e| ApiError::bad_request(format!("the request's body could not be read: {e}")))?;
        total = total.saturating_add(chunk.len());
        if total <= limit {
            bytes.extend_from_slice(&chunk);
        } else if total - limit > DROPPED {
            break;
        } else {
            bytes = Vec::new();
        }
    }
    if total > limit { Err(ApiError::too_large(limit)) } else { Ok(bytes.into()) }
}

#[cfg(test)]
mod tests {
    use axum::{http::StatusCode, response::IntoResponse};

    use super::*;

    #[tokio::test]
    async fn bodies_within_the_limit_are_whole() {
        assert_eq!(read(Body::from("abc"), 3).await.unwrap(), "abc");
        assert_eq!(read(Body::empty(), 0).await.unwrap(), "");
    }

    #[tokio::test]
    async fn larger_bodies_are_read_to_their_end() {
        let (sent, chunks) = (std::sync::atomic::AtomicUsize::new(0), 1000);
        let sent = std::sync::Arc::new(sent);
        let counter = sent.clone();
        let stream = futures_util::stream::iter(0..chunks).map(move |_| {
            counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok::<_, std::io::Error>(Bytes::from_static(&[0; 1000]))
        });
        let error = read(Body::from_stream(stream), 1500).await.unwrap_err();
        assert_eq!(error.into_response().status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(sent.load(std::sync::atomic::Ordering::Relaxed), chunks);
    }

    #[tokio::test]
    async fn endless_bodies_are_cut_off() {
        let endless = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![0; 1 << 20])));
        assert!(read(Body::from_stream(endless), 10).await.is_err());
    }
}
