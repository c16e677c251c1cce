//! Failures as HTTP answers: the protocol's `{"error": "sentence"}` with a fitting status.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

/// A failed request.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    message: String,
    retry_after: Option<u32>,
}

impl ApiError {
    /// The request is not what the protocol or the model expects.
    pub fn bad_request(message: impl Into<String>) -> ApiError {
        ApiError { status: StatusCode::BAD_REQUEST, message: message.into(), retry_after: None }
    }

    /// There is no such thing.
    pub fn not_found(message: impl Into<String>) -> ApiError {
        ApiError { status: StatusCode::NOT_FOUND, message: message.into(), retry_after: None }
    }

    /// The request has more than `limit` bytes.
    pub fn too_large(limit: usize) -> ApiError {
        let message = format!("the request is larger than this server accepts, {limit} bytes (--max-body)");
        ApiError { status: StatusCode::PAYLOAD_TOO_LARGE, message, retry_after: None }
    }

    /// The queue is full.
    pub fn busy(waiting: usize, retry_after: u32) -> ApiError {
        let message = format!("{waiting} predictions are waiting already; try again in {retry_after} s");
        ApiError { status: StatusCode::SERVICE_UNAVAILABLE, message, retry_after: Some(retry_after) }
    }

    /// A defect of the server.
    pub fn internal(message: impl Into<String>) -> ApiError {
        ApiError { status: StatusCode::INTERNAL_SERVER_ERROR, message: message.into(), retry_after: None }
    }
}

impl From<nearside::Error> for ApiError {
    fn from(error: nearside::Error) -> ApiError {
        match error.kind() {
            nearside::ErrorKind::Internal => ApiError::internal(error.to_string()),
            _ => ApiError::bad_request(error.to_string()),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(serde_json::json!({ "error": self.message }))).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
