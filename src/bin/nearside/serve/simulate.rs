//! Simulated network conditions, for the demo: `/simulate/CONDITIONS/v2/…` answers as `/v2/…` would over a worse network.
//!
//! CONDITIONS is a comma-separated list: `rtt=80` (added round trip, ms), `jitter=20` (standard deviation of it, ms),
//! `loss=2` (percent of packets lost), `offline`. A lost packet costs what TCP makes it cost: a retransmission timeout of
//! 200 ms or twice the round trip, doubled for each further loss (RFC 6298, with Linux's minimum).

use std::time::Duration;

use axum::{
    body::{Body, Bytes},
    extract::{Path, Request, State},
    http::HeaderValue,
    response::{IntoResponse, Response},
};
use rand::Rng;
use tower::ServiceExt;

use super::error::ApiError;

/// A network's conditions beyond those of the real one.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Conditions {
    rtt_ms: f64,
    jitter_ms: f64,
    loss: f64,
    offline: bool,
}

const MAX_RTT_MS: f64 = 10_000.0;
const MAX_RETRANSMISSIONS: u32 = 6;

impl Conditions {
    fn parse(text: &str) -> Result<Conditions, ApiError> {
        let mut out = Conditions::default();
        for part in text.split(',').filter(|p| !p.is_empty()) {
            let number = |value: &str, max: f64| {
                value.parse::<f64>().ok().filter(|v| (0.0..=max).contains(v)).ok_or_else(|| {
                    ApiError::bad_request(format!("'{part}' is not a network condition with a number from 0 to {max}"))
                })
            };
            match part.split_once('=') {
                Some(("rtt", v)) => out.rtt_ms = number(v, MAX_RTT_MS)?,
                Some(("jitter", v)) => out.jitter_ms = number(v, MAX_RTT_MS)?,
                Some(("loss", v)) => out.loss = number(v, 100.0)? / 100.0,
                None if part == "offline" => out.offline = true,
                _ => {
                    return Err(ApiError::bad_request(format!(
                        "'{part}' is not a network condition: use rtt=, jitter=, loss= or offline"
                    )));
                }
            }
        }
        Ok(out)
    }

    /// The delay of one direction.
    fn one_way(self, rng: &mut impl Rng) -> Duration {
        let half = self.rtt_ms / 2.0 + gaussian(rng) * self.jitter_ms / 2.0;
        let mut ms = half.clamp(0.0, MAX_RTT_MS);
        let mut timeout = (2.0 * self.rtt_ms).max(200.0);
        for _ in 0..MAX_RETRANSMISSIONS {
            if rng.random::<f64>() >= self.loss {
                break;
            }
            ms += timeout;
            timeout *= 2.0;
        }
        Duration::from_secs_f64(ms / 1000.0)
    }
}

/// A sample of the standard normal distribution (Box and Muller, 1958).
fn gaussian(rng: &mut impl Rng) -> f64 {
    let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
    (-2.0 * u.ln()).sqrt() * (core::f64::consts::TAU * v).cos()
}

/// Handles `/simulate/{conditions}/{*rest}` by passing the request on to `inner` as `/rest`, late.
pub async fn handle(
    State(inner): State<axum::Router>,
    Path((conditions, rest)): Path<(String, String)>,
    mut request: Request,
) -> Result<Response, ApiError> {
    let conditions = Conditions::parse(&conditions)?;
    if conditions.offline {
        return Ok(broken_connection());
    }
    let target = match request.uri().query() {
        Some(query) => format!("/{rest}?{query}"),
        None => format!("/{rest}"),
    };
    *request.uri_mut() = target.parse().map_err(|_| ApiError::bad_request(format!("'{target}' is not a path")))?;
    let (there, back) = {
        let mut rng = rand::rng();
        (conditions.one_way(&mut rng), conditions.one_way(&mut rng))
    };
    tokio::time::sleep(there).await;
    let mut response = inner.oneshot(request).await.into_response();
    tokio::time::sleep(back).await;
    let metric = format!("simulated;dur={:.3}", (there + back).as_secs_f64() * 1e3);
    if let Ok(value) = HeaderValue::from_str(&metric) {
        response.headers_mut().append("server-timing", value);
    }
    Ok(response)
}

/// A response whose body fails at once: the connection is cut, and the client sees a network error.
fn broken_connection() -> Response {
    let cut = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    let body = futures_util::stream::once(async move { Err::<Bytes, _>(cut) });
    Response::new(Body::from_stream(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_parsed_strictly() {
        let parsed = Conditions::parse("rtt=80,jitter=20,loss=2.5").unwrap();
        assert_eq!(parsed, Conditions { rtt_ms: 80.0, jitter_ms: 20.0, loss: 0.025, offline: false });
        assert!(Conditions::parse("offline").unwrap().offline);
        for bad in ["rtt", "rtt=-1", "rtt=x", "loss=101", "speed=3", "rtt=NaN"] {
            assert!(Conditions::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn delays_have_the_given_mean() {
        let mut rng = rand::rng();
        let mut mean = |c: Conditions| (0..4000).map(|_| c.one_way(&mut rng).as_secs_f64() * 1e3).sum::<f64>() / 4000.0;
        let steady = mean(Conditions { rtt_ms: 100.0, jitter_ms: 10.0, ..Conditions::default() });
        assert!((steady - 50.0).abs() < 1.0, "{steady}");
        let lossy = mean(Conditions { rtt_ms: 100.0, loss: 0.5, ..Conditions::default() });
        assert!(lossy > 200.0, "{lossy}");
    }
}
