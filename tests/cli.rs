//! `nearside run`, `nearside inspect`, `nearside check` and `nearside conformance` as a user meets them: the real binary on small folders, and on the test models where they are.
#![cfg(feature = "cli")]

#[path = "support/onnx.rs"]
mod onnx;
mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use onnx::{FLOAT, INT64, Onnx, Size, model};
use prost::Message;
use serde_json::{Value, json};
use tract_onnx::pb;

/// A folder under the system's temporary one that is removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("nearside-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Output {
    success: bool,
    stdout: String,
    stderr: String,
}

impl Output {
    fn last_line(&self) -> &str {
        self.stdout.lines().last().unwrap_or_default()
    }

    /// The cases of a JSON report by name.
    fn case(&self, name: &str) -> Value {
        let all: Value = serde_json::from_str(&self.stdout).expect("the report is JSON");
        let cases = all.as_array().expect("the report is a list");
        cases.iter().find(|c| c["name"] == name).unwrap_or_else(|| panic!("{name} is in {all}")).clone()
    }
}

fn nearside(arguments: &[&str], folder: &Path) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_nearside")).args(arguments).arg(folder).output().expect("the command starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the output is UTF-8");
    Output { success: output.status.success(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn tensor(ty: pb::tensor_proto::DataType, dims: &[i64], data: Vec<u8>) -> Vec<u8> {
    pb::TensorProto { dims: dims.to_vec(), data_type: ty as i32, raw_data: data, ..Default::default() }.encode_to_vec()
}

/// Writes a backend test whose input is `[-1, 2]`.
fn backend_test(root: &Path, name: &str, operator: &str, expected: Vec<u8>) {
    let data = root.join(name).join("test_data_set_0");
    fs::create_dir_all(&data).unwrap();
    let onnx = model(&[("x", FLOAT, &[2])], &[(operator, &["x"], &["y"])], &[("y", FLOAT, &[2])]);
    fs::write(root.join(name).join("model.onnx"), onnx).unwrap();
    let x = tensor(pb::tensor_proto::DataType::Float, &[2], floats(&[-1.0, 2.0]));
    fs::write(data.join("input_0.pb"), x).unwrap();
    fs::write(data.join("output_0.pb"), expected).unwrap();
}

fn backend_tests(root: &Path) {
    use pb::tensor_proto::DataType::{Float, Int64};
    backend_test(root, "right", "Relu", tensor(Float, &[2], floats(&[0.0, 2.0])));
    backend_test(root, "sub/wrong", "Relu", tensor(Float, &[2], floats(&[0.0, 3.0])));
    backend_test(root, "wrong_shape", "Relu", tensor(Float, &[2, 1], floats(&[0.0, 2.0])));
    backend_test(root, "in_parts", "NonZero", tensor(Int64, &[1, 2], [0i64, 1].iter().flat_map(|v| v.to_le_bytes()).collect()));
    backend_test(root, "unknown", "Frobnicate", tensor(Float, &[2], floats(&[0.0, 2.0])));
    backend_test(root, "damaged", "Relu", b"\xFF\xFF\xFF".to_vec());
}

#[test]
fn conformance_sorts_cases_by_what_became_of_them() {
    let scratch = Scratch::new("conformance");
    backend_tests(&scratch.0);
    let text = nearside(&["conformance"], &scratch.0);
    assert!(!text.success);
    assert_eq!(text.last_line(), "2 passed, 4 failed");
    assert!(text.stdout.contains("0 of the passed cases ran on the fallback"), "{}", text.stdout);

    let report = nearside(&["conformance", "--json"], &scratch.0);
    assert!(report.stderr.trim_end().ends_with("2 passed, 4 failed"), "{}", report.stderr);
    let status = |name: &str| report.case(name)["status"].as_str().unwrap_or_default().to_string();
    assert_eq!(
        ["right", "wrong", "wrong_shape", "in_parts", "unknown", "damaged"].map(status),
        ["pass", "mismatch", "mismatch", "pass", "unsupported", "error"]
    );
    assert_eq!(report.case("right")["operators"], json!(["Relu"]));
    assert_eq!(report.case("wrong")["reason"], "output 'y' differs at element 1: 2 instead of 3 (largest expected 3)");
    assert!(report.case("unknown")["reason"].as_str().unwrap().contains("Frobnicate"));

    let runtime = nearside(&["conformance", "--json", "--executor", "runtime"], &scratch.0);
    assert_eq!(runtime.case("in_parts")["status"], "pass");
    let tract = nearside(&["conformance", "--json", "--executor", "tract"], &scratch.0);
    assert_eq!(tract.case("in_parts")["status"], "pass");
}

#[test]
fn a_run_survives_its_cases() {
    let scratch = Scratch::new("limits");
    backend_tests(&scratch.0);
    let hung = nearside(&["conformance", "--json", "--timeout", "0"], &scratch.0);
    assert_eq!(hung.case("right")["reason"], "did not end within 0 s");
    assert_eq!(hung.case("unknown")["status"], "error");
    assert!(hung.stderr.trim_end().ends_with("0 passed, 6 failed"), "{}", hung.stderr);
    if cfg!(unix) {
        // No process starts with so little memory.
        let starved = nearside(&["conformance", "--json", "--memory", "1"], &scratch.0);
        let reason = starved.case("right")["reason"].as_str().unwrap_or_default().to_string();
        assert!(reason.starts_with("crashed"), "{reason}");
    }
}

#[test]
fn a_folder_without_cases_is_an_error() {
    let scratch = Scratch::new("empty");
    for command in ["conformance", "check"] {
        let output = nearside(&[command], &scratch.0);
        assert!(!output.success);
        assert!(output.stderr.contains("holds no case to run"), "{}", output.stderr);
    }
}

#[test]
fn check_compares_cases_and_streams() {
    let scratch = Scratch::new("check");
    let (folder, io) = (scratch.0.join("sum"), scratch.0.join("sum/io"));
    fs::create_dir_all(&io).unwrap();
    // The state counts up what was seen so far.
    let onnx = model(
        &[("x", FLOAT, &[1, 2]), ("state", FLOAT, &[1, 2])],
        &[("Add", &["x", "state"], &["next"]), ("Neg", &["next"], &["y"])],
        &[("y", FLOAT, &[1, 2]), ("next", FLOAT, &[1, 2])],
    );
    fs::write(folder.join("f32.onnx"), onnx).unwrap();
    for (file, values) in [
        ("x.bin", &[1f32, 2.0][..]),
        ("state.bin", &[10.0, 20.0]),
        ("y.bin", &[-11.0, -22.0]),
        ("bad.bin", &[-11.0, -22.1]),
        ("chunks.bin", &[1.0, 2.0, 3.0, 4.0]),
        ("stream.bin", &[-1.0, -2.0, -4.0, -6.0]),
        ("final.bin", &[4.0, 6.0]),
    ] {
        fs::write(io.join(file), floats(values)).unwrap();
    }
    let tensor = |file: &str, shape: &[usize]| json!({ "dtype": "f32", "shape": shape, "file": format!("io/{file}") });
    let given = json!({ "x": tensor("x.bin", &[1, 2]), "state": tensor("state.bin", &[1, 2]) });
    let meta = json!({
        "name": "sum",
        "variants": { "f32": { "file": "f32.onnx", "ops": { "Add": 1, "Neg": 1 } } },
        "cases": [
            { "id": "good", "inputs": given, "expect": { "f32": { "y": tensor("y.bin", &[1, 2]) } } },
            { "id": "bad", "inputs": given, "expect": { "f32": { "y": tensor("bad.bin", &[1, 2]) } } },
            {
                "id": "stream", "stream": true, "inputs": { "x": tensor("chunks.bin", &[2, 1, 2]) },
                "expect": { "f32": { "y": tensor("stream.bin", &[2, 1, 2]), "state_final": tensor("final.bin", &[1, 2]) } },
            },
        ],
    });
    fs::write(folder.join("model.json"), meta.to_string()).unwrap();
    let report = nearside(&["check", "--json"], &scratch.0);
    assert!(!report.success && report.stderr.trim_end().ends_with("2 passed, 1 failed"), "{}", report.stderr);
    assert_eq!(report.case("sum f32 good")["status"], "pass");
    assert_eq!(report.case("sum f32 stream")["status"], "pass", "{}", report.stdout);
    assert_eq!(report.case("sum f32 bad")["status"], "mismatch");
    assert_eq!(report.case("sum f32 bad")["case"], "bad");
}

/// Each set of the test models keeps at least the passes that it had.
#[test]
fn conformance_of_the_test_models() {
    let Some(assets) = support::folder() else { return };
    for (set, least) in LEAST_PASSED {
        let output = nearside(&["conformance"], &assets.join("conformance").join(set));
        let passed = output.last_line().split(' ').next().and_then(|n| n.parse::<usize>().ok());
        println!("{set}: {}", output.last_line());
        assert!(
            passed.is_some_and(|n| n >= *least),
            "{set}: {} where {least} passed before\n{}",
            output.last_line(),
            output.stdout
        );
        for word in ["panicked", "crashed", "did not end"] {
            assert!(!output.stdout.contains(word), "{set}: a case {word}\n{}", output.stdout);
        }
    }
}

const LEAST_PASSED: &[(&str, usize)] = &[
    ("onnx_node_opset17", 925),
    ("onnx_node_opset28", 1862),
    ("onnx_simple", 21),
    ("onnx_pytorch-converted", 82),
    ("onnx_pytorch-operator", 35),
    ("fuzz_ops", 461),
    ("ort_js_ops", 639),
];

#[test]
fn inspect_draws_the_graph_in_a_page_of_one_file() {
    let scratch = Scratch::new("inspect");
    let page = scratch.0.join("page.html");
    let digits = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/digits.int8.onnx");
    let drawn = nearside(&["inspect", "--html", page.to_str().unwrap(), "--dimension", "batch=2"], &digits);
    assert!(drawn.success, "{}", drawn.stderr);
    let html = fs::read_to_string(&page).unwrap();
    // Nothing is fetched: the only addresses are names of XML namespaces.
    let addresses: Vec<&str> = html.match_indices("http").map(|(at, _)| &html[at..at + 19]).collect();
    assert!(addresses.iter().all(|a| *a == "http://www.w3.org/2" || *a == "http://www.w3.org/1"), "{addresses:?}");
    let (_, data) = html.split_once("<script id=\"data\" type=\"application/json\">").unwrap();
    let data: Value = serde_json::from_str(data.split_once("</script>").unwrap().0).unwrap();
    let nodes = data["after"]["nodes"].as_array().unwrap();
    assert!(nodes.iter().any(|n| n["op"] == "Conv" && n["ms"].as_f64() > Some(0.0)));
    let typed = |part: &Value| part["type"].as_str().is_some_and(|text| !text.is_empty());
    assert!(nodes.iter().chain(data["after"]["inputs"].as_array().unwrap()).all(typed), "{}", data["after"]);
    assert!(data["passes"].as_array().unwrap().iter().all(|p| p["name"].is_string() && p["changes"].is_array()));
    let fused: usize = nodes.iter().map(|n| n["fused"].as_array().unwrap().len()).sum();
    let before = data["before"]["nodes"].as_array().unwrap().len();
    assert!(fused >= before - before / 10 && before > nodes.len(), "{fused} of {before} nodes are accounted for");

    let wrong = nearside(&["inspect", "--html", "/nowhere/page.html"], &digits);
    assert!(!wrong.success && wrong.stderr.contains("cannot write /nowhere/page.html"), "{}", wrong.stderr);
}

#[test]
fn inspect_tells_inputs_outputs_and_operators() {
    let scratch = Scratch::new("inspect-text");
    let onnx = model(&[("x", FLOAT, &[2])], &[("Relu", &["x"], &["y"])], &[("y", FLOAT, &[2])]);
    let path = scratch.0.join("relu.onnx");
    fs::write(&path, onnx).unwrap();
    let text = nearside(&["inspect"], &path);
    assert!(text.success, "{}", text.stderr);
    assert!(text.stdout.starts_with("input   x: float32[2]\noutput  y: float32[2]\nnodes   "), "{}", text.stdout);
    assert_eq!(text.last_line(), "weights 0 bytes");

    let report: Value =
        serde_json::from_str(&nearside(&["inspect", "--json", "--passes"], &path).stdout).expect("the report is JSON");
    assert_eq!(report["plan"], true);
    assert_eq!(report["inputs"], json!([{ "name": "x", "type": "float32", "dims": [2] }]));
    assert_eq!(report["outputs"], json!([{ "name": "y", "type": "float32", "dims": [2] }]));
    assert!(report["passes"].is_array());

    let plan = scratch.0.join("relu.plan");
    assert!(nearside(&["compile", "--output", &plan.to_string_lossy()], &path).success);
    assert_eq!(nearside(&["inspect"], &plan).stdout, text.stdout);
    assert!(nearside(&["inspect", "--graph"], &plan).stdout.starts_with("input  x: float32[2]\n%"));
}

#[test]
fn a_plan_is_fed_the_value_that_it_is_for() {
    let scratch = Scratch::new("values");
    let onnx = model(
        &[("shape", INT64, &[2]), ("x", FLOAT, &[2, 3])],
        &[("Reshape", &["x", "shape"], &["y"])],
        &[("y", FLOAT, &[-1, -1])],
    );
    let (path, plan, page) = (scratch.0.join("m.onnx"), scratch.0.join("m.plan"), scratch.0.join("page.html"));
    fs::write(&path, onnx).unwrap();
    let compiled = nearside(&["run", "--value", "shape=3,2"], &path);
    assert!(compiled.stdout.contains("y: float32 3×2"), "{}{}", compiled.stdout, compiled.stderr);
    assert!(nearside(&["compile", "--value", "shape=6,1"], &path).success);
    for command in ["run", "bench"] {
        let output = nearside(&[command], &plan);
        assert!(output.success, "{command}: {}", output.stderr);
    }
    fs::write(scratch.0.join("shape.bin"), [2i64, 3].map(i64::to_le_bytes).concat()).unwrap();
    let other = nearside(&["run", "--input", &format!("shape={}", scratch.0.join("shape.bin").display())], &plan);
    assert!(!other.success && other.stderr.contains("input 'shape' must be [6, 1]"), "{}", other.stderr);
    let again = nearside(&["run", "--value", "shape=3,2"], &plan);
    assert!(!again.success && again.stderr.contains("is a plan: values and dimensions are settled"), "{}", again.stderr);

    let options = ["inspect", "--html", page.to_str().unwrap()];
    for (options, file) in [(&options[..], &plan), (&[&options[..], &["--value", "shape=3,2"]].concat(), &path)] {
        assert!(nearside(options, file).success);
        assert!(!fs::read_to_string(&page).unwrap().contains("It was not run"));
    }
    let open = nearside(&options, &path);
    assert!(!open.success && open.stderr.contains("--value shape=…"), "{}", open.stderr);
}

#[test]
fn a_model_for_some_sizes_only_is_drawn_for_those_of_the_times() {
    let scratch = Scratch::new("sizes");
    let mut onnx = Onnx::new(17);
    onnx.input("x", &[Size::Named("rows"), Size::Fixed(6)]);
    onnx.ints("axes", &[0]);
    onnx.node("Squeeze", &["x", "axes"], "y", &[]);
    onnx.output("y");
    let (path, page) = (scratch.0.join("m.onnx"), scratch.0.join("page.html"));
    fs::write(&path, onnx.bytes()).unwrap();
    let drawn = nearside(&["inspect", "--html", page.to_str().unwrap(), "--dimension", "rows=1"], &path);
    assert!(drawn.success, "{}", drawn.stderr);
    assert!(fs::read_to_string(&page).unwrap().contains("float32[1×6]"));
}
