//! Admission: a fixed number of predictions run at a time, a bounded number wait, the rest is told to come back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::ApiError;

/// The bounded queue before the workers.
pub struct Queue {
    workers: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    limit: usize,
}

/// The right to run one prediction; given back when dropped.
pub struct Turn {
    _permit: OwnedSemaphorePermit,
    /// Time spent waiting for the turn.
    pub waited: Duration,
}

/// Counts a waiting request until it gets its turn or its client goes away.
struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Queue {
    /// `workers` predictions at a time, at most `limit` waiting.
    pub fn new(workers: usize, limit: usize) -> Queue {
        Queue { workers: Arc::new(Semaphore::new(workers)), waiting: Arc::new(AtomicUsize::new(0)), limit }
    }

    /// Waits for a turn, or fails at once with 503 if too many wait already.
    pub async fn turn(&self) -> Result<Turn, ApiError> {
        let start = Instant::now();
        if let Ok(permit) = self.workers.clone().try_acquire_owned() {
            return Ok(Turn { _permit: permit, waited: start.elapsed() });
        }
        let before = self.waiting.fetch_add(1, Ordering::AcqRel);
        let waiting = Waiting(self.waiting.clone());
        if before >= self.limit {
            return Err(ApiError::busy(before, 1));
        }
        let permit = self.workers.clone().acquire_owned().await;
        drop(waiting);
        let permit = permit.map_err(|_| ApiError::internal("the server is shutting down"))?;
        Ok(Turn { _permit: permit, waited: start.elapsed() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{http::StatusCode, response::IntoResponse};

    #[tokio::test]
    async fn the_queue_is_bounded_and_empties() {
        let queue = Arc::new(Queue::new(1, 1));
        let running = queue.turn().await.unwrap();
        let waiter = tokio::spawn({
            let queue = queue.clone();
            async move { queue.turn().await.map(|t| t.waited) }
        });
        while queue.waiting.load(Ordering::Acquire) == 0 {
            tokio::task::yield_now().await;
        }
        let refused = queue.turn().await.err().unwrap().into_response();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.headers()["retry-after"], "1");
        drop(running);
        assert!(waiter.await.unwrap().is_ok());
        assert!(queue.turn().await.is_ok());
    }
}
