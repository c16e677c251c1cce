//! The server as a client meets it: the real binary, the real digit models, over HTTP on loopback.
#![cfg(feature = "serve")]

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

struct Server {
    process: Child,
    stdout: BufReader<ChildStdout>,
    url: String,
}

impl Server {
    fn start(extra: &[&str]) -> Server {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        let mut process = Command::new(env!("CARGO_BIN_EXE_nearside"))
            .arg("serve")
            .arg(models)
            .args(["--port", "0"])
            .args(extra)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut stdout = BufReader::new(process.stdout.take().expect("its output is piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("it says where it listens");
        let url = line.trim().rsplit(' ').next().unwrap_or_default().to_string();
        assert!(url.starts_with("http://"), "{line}");
        Server { process, stdout, url }
    }

    fn get(&self, path: &str) -> (u16, Value) {
        let response = agent().get(format!("{}{path}", self.url)).call().expect("an answer");
        read(response)
    }

    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let response = agent().post(format!("{}{path}", self.url)).send(body.to_string()).expect("an answer");
        read(response)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(30))).build().into()
}

fn read(response: ureq::http::Response<ureq::Body>) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.into_body().read_to_string().expect("a body");
    (status, if text.is_empty() { Value::Null } else { serde_json::from_str(&text).expect("JSON") })
}

/// A vertical bar: a one.
fn drawing() -> Vec<f32> {
    (0..784).map(|i| f32::from((4..24).contains(&(i / 28)) && (13..16).contains(&(i % 28)))).collect()
}

fn request() -> Value {
    json!({ "id": "a", "inputs": [{ "name": "image", "shape": [1, 1, 28, 28], "datatype": "FP32", "data": drawing() }] })
}

fn top(logits: &[f64]) -> usize {
    (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).expect("ten classes")
}

#[test]
fn speaks_the_open_inference_protocol() {
    let server = Server::start(&[]);
    assert_eq!(server.get("/v2/health/live").0, 200);
    assert_eq!(server.get("/v2/health/ready").0, 200);
    assert_eq!(server.get("/v2").1["extensions"][0], "binary_tensor_data");
    assert_eq!(server.get("/v2/models/digits/ready").0, 200);
    assert_eq!(server.get("/v2/models/digits/versions/1").0, 200);
    let (_, metadata) = server.get("/v2/models/digits.int8");
    assert_eq!(metadata["inputs"][0], json!({ "name": "image", "datatype": "FP32", "shape": [-1, 1, 28, 28] }));
    assert_eq!(metadata["platform"], "nearside");
    assert_eq!(server.get("/v2/models/digits").1["platform"], "tract");

    for model in ["digits", "digits.int8"] {
        let (status, answer) = server.post(&format!("/v2/models/{model}/infer"), &request());
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["id"], "a");
        assert_eq!(answer["outputs"][0]["shape"], json!([1, 10]));
        let logits: Vec<f64> = serde_json::from_value(answer["outputs"][0]["data"].clone()).expect("numbers");
        assert_eq!(top(&logits), 1, "{model}: {logits:?}");
    }
}

#[test]
fn binary_tensors_and_timing() {
    let server = Server::start(&[]);
    let header = json!({
        "parameters": { "binary_data_output": true },
        "inputs": [{ "name": "image", "shape": [1, 1, 28, 28], "datatype": "FP32", "parameters": { "binary_data_size": 784 * 4 } }],
    })
    .to_string();
    let mut body = header.clone().into_bytes();
    body.extend(drawing().iter().flat_map(|v| v.to_le_bytes()));
    let response = agent()
        .post(format!("{}/v2/models/digits.int8/infer", server.url))
        .header("Inference-Header-Content-Length", header.len().to_string())
        .header("Origin", "http://elsewhere.example")
        .send(&body[..])
        .expect("an answer");
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    let timing = response.headers()["server-timing"].to_str().expect("ASCII").to_string();
    assert!(timing.contains("queue;dur=") && timing.contains("compute;dur="), "{timing}");
    let json_len: usize =
        response.headers()["inference-header-content-length"].to_str().ok().and_then(|v| v.parse().ok()).expect("a length");
    let bytes = response.into_body().read_to_vec().expect("a body");
    assert_eq!(bytes.len() - json_len, 40);
    let logits: Vec<f64> =
        bytes[json_len..].chunks_exact(4).map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]]))).collect();
    assert_eq!(top(&logits), 1);
}

#[test]
fn bad_requests_are_sentences_and_the_server_goes_on() {
    let server = Server::start(&["--max-body", "100000"]);
    let infer = "/v2/models/digits/infer";
    let wrong_shape = json!({ "inputs": [{ "name": "image", "shape": [1, 784], "datatype": "FP32", "data": drawing() }] });
    let wrong_type = json!({ "inputs": [{ "name": "image", "shape": [1, 1, 1, 1], "datatype": "INT64", "data": [1] }] });
    let missing = json!({ "inputs": [] });
    for (path, body, status, part) in [
        ("/v2/models/nothing/infer", &request(), 404, "there is no model 'nothing'"),
        ("/v2/models/digits/versions/2/infer", &request(), 404, "has version 1, not 2"),
        (infer, &wrong_shape, 400, "image"),
        (infer, &wrong_type, 400, "int64"),
        (infer, &missing, 400, "'image' is missing"),
        (infer, &json!("no request"), 400, "not an inference request"),
        (infer, &json!({ "inputs": [], "padding": "x".repeat(4_000_000) }), 413, "larger than this server accepts"),
    ] {
        let (got, answer) = server.post(path, body);
        assert_eq!(got, status, "{answer}");
        assert!(answer["error"].as_str().is_some_and(|e| e.contains(part)), "{answer}");
    }
    assert_eq!(server.post(infer, &request()).0, 200);
}

#[test]
fn simulated_networks_delay_and_cut() {
    let server = Server::start(&[]);
    let start = Instant::now();
    let (status, _) = server.post("/simulate/rtt=150/v2/models/digits/infer", &request());
    assert_eq!(status, 200);
    assert!(start.elapsed() >= Duration::from_millis(150));
    let cut = agent().get(format!("{}/simulate/offline/v2", server.url)).call().and_then(|r| r.into_body().read_to_string());
    assert!(cut.is_err());
    assert_eq!(server.get("/simulate/rtt=fast/v2").0, 400);
}

#[cfg(unix)]
#[test]
fn stops_gracefully() {
    let mut server = Server::start(&[]);
    let url = format!("{}/simulate/rtt=600/v2/models/digits/infer", server.url);
    let slow = std::thread::spawn(move || read(agent().post(url).send(request().to_string()).expect("an answer")).0);
    std::thread::sleep(Duration::from_millis(200));
    let killed = Command::new("kill").arg(server.process.id().to_string()).status().expect("kill runs");
    assert!(killed.success());
    assert_eq!(slow.join().expect("the request ends"), 200);
    assert!(server.process.wait().expect("the server ends").success());
    let mut rest = String::new();
    server.stdout.read_to_string(&mut rest).expect("its last words");
    assert_eq!(rest.trim(), "stopped");
}
