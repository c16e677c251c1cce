//! Requests and responses of `infer`: JSON, and the binary tensor extension.
//!
//! <https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol> and Triton's
//! "Binary Tensor Data Extension": a JSON header of `Inference-Header-Content-Length` bytes, then the tensors' raw little-endian bytes.

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use nearside::Tensor;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{error::ApiError, tensors};

/// Names the length of the JSON part of a body that also holds binary tensors.
pub const HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

#[derive(Deserialize)]
struct RequestHeader {
    #[serde(default)]
    id: Option<String>,
    inputs: Vec<RequestInput>,
    #[serde(default)]
    outputs: Vec<RequestOutput>,
    #[serde(default)]
    parameters: RequestParameters,
}

#[derive(Deserialize, Default)]
struct RequestParameters {
    #[serde(default)]
    binary_data_output: bool,
}

#[derive(Deserialize)]
struct RequestInput {
    name: String,
    shape: Vec<usize>,
    datatype: String,
    #[serde(default)]
    parameters: InputParameters,
    #[serde(default)]
    data: Option<Value>,
}

#[derive(Deserialize, Default)]
struct InputParameters {
    binary_data_size: Option<usize>,
}

#[derive(Deserialize)]
struct RequestOutput {
    name: String,
    #[serde(default)]
    parameters: OutputParameters,
}

#[derive(Deserialize, Default)]
struct OutputParameters {
    binary_data: Option<bool>,
}

/// A decoded request.
pub struct Request {
    id: Option<String>,
    /// Input tensors by name.
    pub inputs: Vec<(String, Tensor)>,
    outputs: Vec<RequestOutput>,
    binary_outputs: bool,
}

impl Request {
    /// Decodes a body.
    pub fn decode(headers: &HeaderMap, body: &Bytes) -> Result<Request, ApiError> {
        let json_len = match headers.get(HEADER_LENGTH) {
            None => body.len(),
            Some(value) => {
                value.to_str().ok().and_then(|v| v.parse().ok()).filter(|len| *len <= body.len()).ok_or_else(|| {
                    ApiError::bad_request(format!("Inference-Header-Content-Length {value:?} does not fit the body"))
                })?
            }
        };
        let (json, mut binary) = body.split_at(json_len);
        let header: RequestHeader = serde_json::from_slice(json)
            .map_err(|e| ApiError::bad_request(format!("the request is not an inference request in JSON: {e}")))?;
        let inputs = header.inputs.into_iter().map(|input| decode_input(input, &mut binary)).collect::<Result<_, _>>()?;
        if !binary.is_empty() {
            return Err(ApiError::bad_request(format!("{} bytes follow the last input's binary data", binary.len())));
        }
        Ok(Request { id: header.id, inputs, outputs: header.outputs, binary_outputs: header.parameters.binary_data_output })
    }
}

fn decode_input(input: RequestInput, binary: &mut &[u8]) -> Result<(String, Tensor), ApiError> {
    let name = input.name;
    let dtype = tensors::dtype(&input.datatype).ok_or_else(|| {
        ApiError::bad_request(format!("input '{name}' has datatype '{}', which the protocol does not know", input.datatype))
    })?;
    let tensor = match (input.parameters.binary_data_size, &input.data) {
        (Some(size), None) => {
            let (bytes, rest) = binary.split_at_checked(size).ok_or_else(|| {
                ApiError::bad_request(format!(
                    "input '{name}' should have {size} bytes of binary data, {} are left",
                    binary.len()
                ))
            })?;
            *binary = rest;
            Tensor::from_bytes(dtype, &input.shape, bytes).map_err(|e| ApiError::bad_request(format!("input '{name}': {e}")))?
        }
        (None, Some(data)) => tensors::from_json(&name, dtype, &input.shape, data)?,
        _ => return Err(ApiError::bad_request(format!("input '{name}' needs either data or binary_data_size"))),
    };
    Ok((name, tensor))
}

#[derive(Serialize)]
struct ResponseHeader<'a> {
    model_name: &'a str,
    model_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    outputs: Vec<ResponseOutput<'a>>,
}

#[derive(Serialize)]
struct ResponseOutput<'a> {
    name: &'a str,
    shape: &'a [usize],
    datatype: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
}

/// Encodes the outputs that the request asked for: all of them if it named none.
pub fn encode(model: &str, request: &Request, outputs: &[(String, Tensor)]) -> Result<Response, ApiError> {
    let wanted: Vec<(&str, &Tensor, bool)> = if request.outputs.is_empty() {
        outputs.iter().map(|(n, t)| (n.as_str(), t, request.binary_outputs)).collect()
    } else {
        let find = |want: &RequestOutput| {
            let (n, t) = outputs
                .iter()
                .find(|(n, _)| *n == want.name)
                .ok_or_else(|| ApiError::bad_request(format!("the model has no output '{}'", want.name)))?;
            Ok((n.as_str(), t, want.parameters.binary_data.unwrap_or(request.binary_outputs)))
        };
        request.outputs.iter().map(find).collect::<Result<_, ApiError>>()?
    };
    let mut binary = Vec::new();
    let mut described = Vec::new();
    for (name, tensor, as_binary) in wanted {
        let (parameters, data) = if as_binary {
            binary.extend_from_slice(tensor.bytes());
            (Some(serde_json::json!({ "binary_data_size": tensor.bytes().len() })), None)
        } else {
            (None, Some(tensors::to_json(tensor)?))
        };
        described.push(ResponseOutput {
            name,
            shape: tensor.shape(),
            datatype: tensors::datatype(tensor.dtype()),
            parameters,
            data,
        });
    }
    let any_binary = described.iter().any(|o| o.parameters.is_some());
    let header = ResponseHeader { model_name: model, model_version: "1", id: request.id.as_deref(), outputs: described };
    let json = serde_json::to_vec(&header).map_err(|e| ApiError::internal(e.to_string()))?;
    if !any_binary {
        return Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], json).into_response());
    }
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (HEADER_LENGTH, HeaderValue::from(json.len())),
    ];
    Ok((headers, [json, binary].concat()).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;

    fn decode(headers: &HeaderMap, body: impl Into<Bytes>) -> Result<Request, ApiError> {
        Request::decode(headers, &body.into())
    }

    #[tokio::test]
    async fn json_round_trip() {
        let body = r#"{"id":"7","inputs":[{"name":"x","shape":[2,2],"datatype":"FP32","data":[[1,2],[3,4.5]]}]}"#;
        let request = decode(&HeaderMap::new(), body).unwrap();
        assert_eq!(request.inputs[0].1.as_slice::<f32>().unwrap(), [1.0, 2.0, 3.0, 4.5]);
        let response = encode("m", &request, &request.inputs).unwrap();
        let value: Value = serde_json::from_slice(&to_bytes(response.into_body(), 4096).await.unwrap()).unwrap();
        assert_eq!(value["outputs"][0]["data"], serde_json::json!([1.0, 2.0, 3.0, 4.5]));
        assert_eq!(value["id"], "7");
    }

    #[tokio::test]
    async fn binary_round_trip() {
        let json = r#"{"parameters":{"binary_data_output":true},"inputs":[{"name":"x","shape":[2],"datatype":"INT64","parameters":{"binary_data_size":16}}]}"#;
        let mut body = json.as_bytes().to_vec();
        body.extend(5i64.to_le_bytes());
        body.extend((-1i64).to_le_bytes());
        let mut headers = HeaderMap::new();
        headers.insert(HEADER_LENGTH, HeaderValue::from(json.len()));
        let request = decode(&headers, body).unwrap();
        let response = encode("m", &request, &request.inputs).unwrap();
        let json_len: usize = response.headers()[HEADER_LENGTH].to_str().unwrap().parse().unwrap();
        let bytes = to_bytes(response.into_body(), 4096).await.unwrap();
        assert_eq!(&bytes[json_len..json_len + 8], 5i64.to_le_bytes());
    }

    #[test]
    fn bad_requests_are_sentences() {
        for (body, part) in [
            ("<html>", "not an inference request in JSON"),
            (r#"{"inputs":[{"name":"x","shape":[1],"datatype":"FP99","data":[1]}]}"#, "datatype 'FP99'"),
            (r#"{"inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[1]}]}"#, "needs 8 bytes, 4 were given"),
            (r#"{"inputs":[{"name":"x","shape":[1],"datatype":"UINT8","data":[300]}]}"#, "300 is not a UINT8 element"),
            (r#"{"inputs":[{"name":"x","shape":[1],"datatype":"FP32"}]}"#, "needs either data or binary_data_size"),
        ] {
            let error = format!("{:?}", decode(&HeaderMap::new(), body).err().unwrap());
            assert!(error.contains(part), "{error}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(HEADER_LENGTH, HeaderValue::from(999));
        assert!(decode(&headers, "{}").is_err());
    }
}
