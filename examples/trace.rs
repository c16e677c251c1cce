use nearside::{
    DType, Tensor,
    compile::{Compiled, Options, compile},
    runtime::Session,
};
// trace <model dir> <variant file> <case> <out dir>
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let base = format!("/work/shared/assets/{}/", a[1]);
    let meta: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(format!("{base}model.json")).unwrap()).unwrap();
    let case = meta["cases"].as_array().unwrap().iter().find(|c| c["id"] == a[3].as_str()).unwrap().clone();
    let inputs: Vec<(String, Tensor)> = case["inputs"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(n, v)| {
            let shape: Vec<usize> = v["shape"].as_array().unwrap().iter().map(|d| d.as_u64().unwrap() as usize).collect();
            let dt = match v["dtype"].as_str().unwrap() {
                "f32" => DType::F32,
                "i64" => DType::I64,
                "i32" => DType::I32,
                _ => DType::U8,
            };
            (
                n.clone(),
                Tensor::from_bytes(dt, &shape, &std::fs::read(format!("{base}{}", v["file"].as_str().unwrap())).unwrap())
                    .unwrap(),
            )
        })
        .collect();
    let Compiled::Plan { mut plan, .. } =
        compile(&std::fs::read(format!("{base}{}", a[2])).unwrap(), &Options::default()).unwrap()
    else {
        panic!()
    };
    let all: Vec<_> =
        plan.graph.nodes.iter().flat_map(|n| n.outputs.iter().map(move |o| (*o, n.op.name(), n.name.clone()))).collect();
    let mut index = Vec::new();
    for (i, (v, op, node)) in all.iter().enumerate() {
        if plan.graph.is_output(*v) {
            continue;
        }
        let name = format!("t{i}");
        let val = plan.graph.value(*v);
        index.push(serde_json::json!({"t": name, "value": val.name, "op": op, "node": node, "dtype": val.ty.dtype.name(), "quant": val.ty.quant.as_ref().map(|q| (q.scale[0], q.zero_point[0]))}));
        plan.graph.add_output(&name, *v);
    }
    let mut s = Session::new(plan).unwrap();
    let views: Vec<_> = inputs.iter().map(|(n, t)| (n.as_str(), t.view())).collect();
    let out = s.run(&views).unwrap();
    std::fs::create_dir_all(&a[4]).unwrap();
    for (n, v) in out.iter() {
        std::fs::write(format!("{}/{}.bin", a[4], n.replace('/', "_")), v.data).unwrap();
        if let Some(e) = index.iter_mut().find(|e| e["t"] == n) {
            e["shape"] = serde_json::json!(v.shape);
        }
    }
    std::fs::write(format!("{}/index.json", a[4]), serde_json::to_string(&index).unwrap()).unwrap();
}
