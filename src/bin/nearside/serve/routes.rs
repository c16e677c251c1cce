//! The HTTP interface.

use std::{path::Path as FsPath, sync::Arc, time::Instant};

use axum::{
    Json, Router,
    extract::{Path, Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::{Next, from_fn},
    response::Response,
    routing::{any, get, post},
};
use nearside::runtime::{DimInfo, PortInfo};
use serde_json::{Value, json};
use tower::ServiceBuilder;
use tower_http::{cors, services::ServeDir, set_header::SetResponseHeaderLayer};

use super::{App, body, error::ApiError, protocol, simulate, tensors};

/// The whole service.
pub fn router(app: Arc<App>, static_dir: Option<&FsPath>) -> Router {
    let api = Router::new()
        .route("/v2", get(server_metadata))
        .route("/v2/health/live", get(StatusCode::OK))
        .route("/v2/health/ready", get(StatusCode::OK))
        .route("/v2/repository/index", post(repository_index))
        .route("/v2/models/{name}", get(model_metadata))
        .route("/v2/models/{name}/ready", get(model_ready))
        .route("/v2/models/{name}/infer", post(infer))
        .route("/v2/models/{name}/versions/{version}", get(model_metadata))
        .route("/v2/models/{name}/versions/{version}/ready", get(model_ready))
        .route("/v2/models/{name}/versions/{version}/infer", post(infer))
        .with_state(app);
    let simulated = Router::new().route("/simulate/{conditions}/{*rest}", any(simulate::handle)).with_state(api.clone());
    let exposed = [HeaderName::from_static("server-timing"), protocol::HEADER_LENGTH, header::RETRY_AFTER];
    let cors = cors::CorsLayer::new()
        .allow_origin(cors::Any)
        .allow_methods(cors::Any)
        .allow_headers(cors::Any)
        .expose_headers(exposed)
        .max_age(std::time::Duration::from_secs(600));
    let router = api.merge(simulated).layer(
        ServiceBuilder::new()
            .layer(cors)
            .layer(fixed_header("timing-allow-origin", "*"))
            .layer(fixed_header("cross-origin-resource-policy", "cross-origin"))
            .layer(fixed_header("cache-control", "no-store")),
    );
    match static_dir {
        None => router,
        Some(dir) => {
            let files = ServiceBuilder::new()
                .layer(from_fn(isolate))
                .layer(fixed_header("x-content-type-options", "nosniff"))
                .layer(SetResponseHeaderLayer::if_not_present(header::CACHE_CONTROL, HeaderValue::from_static("no-cache")))
                .service(ServeDir::new(dir).precompressed_br());
            router.fallback_service(files)
        }
    }
}

/// The page of this name shows what a page does that no header isolates.
const NOT_ISOLATED: &str = "/one-thread.html";

/// Adds the headers that make a page cross-origin isolated.
async fn isolate(request: Request, next: Next) -> Response {
    let isolated = !request.uri().path().ends_with(NOT_ISOLATED);
    let mut response = next.run(request).await;
    if isolated {
        let headers = response.headers_mut();
        headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
        headers.insert("cross-origin-embedder-policy", HeaderValue::from_static("require-corp"));
    }
    response
}

fn fixed_header(name: &'static str, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::overriding(HeaderName::from_static(name), HeaderValue::from_static(value))
}

async fn server_metadata() -> Json<Value> {
    Json(json!({
        "name": "nearside",
        "version": env!("CARGO_PKG_VERSION"),
        "extensions": ["binary_tensor_data", "model_repository"],
    }))
}

async fn repository_index(State(app): State<Arc<App>>) -> Json<Value> {
    let models: Vec<Value> =
        app.repository.names().iter().map(|n| json!({ "name": n, "version": "1", "state": "READY" })).collect();
    Json(Value::Array(models))
}

/// The name, and the version where the path has one; only version 1 exists.
type ModelPath = Path<Vec<(String, String)>>;

fn model_name(Path(segments): ModelPath) -> Result<String, ApiError> {
    let get = |key: &str| segments.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
    let name = get("name").unwrap_or_default();
    match get("version") {
        None | Some("1") => Ok(name.into()),
        Some(other) => Err(ApiError::not_found(format!("model '{name}' has version 1, not {other}"))),
    }
}

async fn model_metadata(State(app): State<Arc<App>>, path: ModelPath) -> Result<Json<Value>, ApiError> {
    let model = app.repository.get(&model_name(path)?)?;
    let ports = |ports: &[PortInfo]| -> Vec<Value> {
        let dim = |d: &DimInfo| match d {
            DimInfo::Fixed(n) => json!(n),
            DimInfo::Symbol(_) => json!(-1),
        };
        let port = |p: &PortInfo| json!({ "name": p.name, "datatype": tensors::datatype(p.dtype), "shape": p.shape.iter().map(dim).collect::<Vec<_>>() });
        ports.iter().map(port).collect()
    };
    Ok(Json(json!({
        "name": model.name,
        "versions": ["1"],
        "platform": model.platform,
        "inputs": ports(&model.inputs),
        "outputs": ports(&model.outputs),
    })))
}

async fn model_ready(State(app): State<Arc<App>>, path: ModelPath) -> Result<StatusCode, ApiError> {
    app.repository.get(&model_name(path)?).map(|_| StatusCode::OK)
}

async fn infer(State(app): State<Arc<App>>, path: ModelPath, request: Request) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let body = body::read(body, app.max_body).await?;
    let model = app.repository.get(&model_name(path)?)?;
    let start = Instant::now();
    let request = protocol::Request::decode(&parts.headers, &body)?;
    drop(body);
    let decoded = start.elapsed();
    let turn = app.queue.turn().await?;
    let waited = turn.waited;
    let work = tokio::task::spawn_blocking(move || {
        let start = Instant::now();
        let outputs = model.run(&request.inputs);
        let compute = start.elapsed();
        drop(turn);
        outputs.and_then(|outputs| protocol::encode(&model.name, &request, &outputs)).map(|r| (r, compute, start.elapsed()))
    });
    let (mut response, compute, total) = work.await.map_err(|e| ApiError::internal(format!("the prediction failed: {e}")))??;
    let ms = |d: std::time::Duration| d.as_secs_f64() * 1e3;
    let timing = format!(
        "decode;dur={:.3}, queue;dur={:.3}, compute;dur={:.3}, encode;dur={:.3}",
        ms(decoded),
        ms(waited),
        ms(compute),
        ms(total - compute)
    );
    if let Ok(value) = HeaderValue::from_str(&timing) {
        response.headers_mut().insert("server-timing", value);
    }
    Ok(response)
}
