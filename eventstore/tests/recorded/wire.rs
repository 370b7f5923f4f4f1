//! Raw calls of the protocol: requests and answers as JSON, without any client's opinion of them.

use std::{collections::BTreeMap, path::Path, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{Buf, BufMut, Bytes};
use prost::Message;
use protox::prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value as Field,
};
use serde_json::{Map, Value, json};
use tokio::time::timeout;
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
    metadata::{Ascii, MetadataKey},
    transport::Channel,
};

/// The longest wait for an answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(20);

/// A connection to a server, and the definitions of its protocol.
pub(crate) struct WireClient {
    channel: Channel,
    pool: DescriptorPool,
}

/// A call to be made. Each message may wait before it is sent.
pub(crate) struct WireCall {
    /// `Package.Service/Method`, without a slash in front.
    pub(crate) method: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) messages: Vec<(Duration, Value)>,
}

/// The answers that a call had so far, and its end if it has ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CallOutcome {
    pub(crate) answers: Vec<Value>,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) trailers: BTreeMap<String, String>,
}

/// A call whose answers are still coming.
pub(crate) struct OpenCall {
    answers: Vec<Value>,
    stream: Streaming<Bytes>,
    output: Option<MessageDescriptor>,
}

impl WireClient {
    pub(crate) async fn connect(address: std::net::SocketAddr) -> Self {
        let definitions = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
        let files =
            protox::compile(["gossip.proto", "server_features.proto", "streams.proto"], [definitions])
                .unwrap();
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Self { channel, pool: DescriptorPool::from_file_descriptor_set(files).unwrap() }
    }

    /// Makes a call; fails with its outcome if it ends before its first answer.
    pub(crate) async fn open(&self, call: WireCall) -> Result<OpenCall, CallOutcome> {
        let (service, name) = call.method.split_once('/').unwrap();
        let method = self
            .pool
            .get_service_by_name(service)
            .and_then(|service| service.methods().find(|method| method.name() == name));
        let messages: Vec<_> = call
            .messages
            .into_iter()
            .map(|(pause, message)| {
                let encoded = method.as_ref().map(|method| encode(&method.input(), &message));
                (pause, Bytes::from(encoded.unwrap_or_default()))
            })
            .collect();
        let sent = async_stream::stream! {
            for (pause, message) in messages {
                // The pause is a part of the request.
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
                yield message;
            }
        };
        let mut request = Request::new(sent);
        for (key, value) in call.headers {
            let key = MetadataKey::<Ascii>::from_bytes(key.as_bytes()).unwrap();
            request.metadata_mut().insert(key, value.parse().unwrap());
        }
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(usize::MAX);
        grpc.ready().await.unwrap();
        let path = PathAndQuery::try_from(format!("/{}", call.method)).unwrap();
        match timeout(ANSWER_DEADLINE, grpc.streaming(request, path, RawCodec)).await {
            Ok(Ok(response)) => Ok(OpenCall {
                answers: Vec::new(),
                stream: response.into_inner(),
                output: method.map(|method| method.output()),
            }),
            Ok(Err(status)) => Err(outcome(Vec::new(), Some(&status))),
            Err(_) => Err(outcome(Vec::new(), Some(&Status::deadline_exceeded("no answer in time")))),
        }
    }
}

impl OpenCall {
    /// Reads answers until `enough` of them have come, and leaves the call open. Returns its outcome if it
    /// ended before.
    pub(crate) async fn read_until(&mut self, enough: impl Fn(&[Value]) -> bool) -> Option<CallOutcome> {
        while !enough(&self.answers) {
            match timeout(ANSWER_DEADLINE, self.stream.message()).await {
                Ok(Ok(Some(message))) => self.answers.push(decode(self.output.as_ref().unwrap(), &message)),
                Ok(Ok(None)) => return Some(outcome(self.answers.clone(), None)),
                Ok(Err(status)) => return Some(outcome(self.answers.clone(), Some(&status))),
                Err(_) => {
                    let late = Status::deadline_exceeded("no answer in time");
                    return Some(outcome(self.answers.clone(), Some(&late)));
                }
            }
        }
        None
    }

    /// Gives the call up and returns the answers that it had.
    pub(crate) fn cut(self) -> CallOutcome {
        outcome(self.answers, None)
    }
}

fn outcome(answers: Vec<Value>, status: Option<&Status>) -> CallOutcome {
    let code = status.map_or("OK".to_owned(), |status| screaming(&format!("{:?}", status.code())));
    let trailers = status.map_or_else(BTreeMap::new, |status| {
        let keys = status.metadata().keys().filter_map(|key| match key {
            tonic::metadata::KeyRef::Ascii(key) => Some(key),
            tonic::metadata::KeyRef::Binary(_) => None,
        });
        keys.map(|key| {
            let value = status.metadata().get(key).unwrap().to_str().unwrap_or_default();
            (key.to_string(), value.to_owned())
        })
        .collect()
    });
    CallOutcome { answers, code, message: status.map_or("", Status::message).to_owned(), trailers }
}

/// Writes a name such as `InvalidArgument` as `INVALID_ARGUMENT`.
fn screaming(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_uppercase());
    }
    text
}

fn encode(descriptor: &MessageDescriptor, message: &Value) -> Vec<u8> {
    dynamic(descriptor, message).encode_to_vec()
}

fn dynamic(descriptor: &MessageDescriptor, message: &Value) -> DynamicMessage {
    let mut built = DynamicMessage::new(descriptor.clone());
    for (name, value) in message.as_object().unwrap() {
        let field = descriptor.get_field_by_name(name).unwrap_or_else(|| panic!("no field {name}"));
        let value = if field.is_map() {
            let entries = value.as_object().unwrap().iter();
            Field::Map(
                entries
                    .map(|(key, value)| {
                        (MapKey::String(key.clone()), Field::String(value.as_str().unwrap().to_owned()))
                    })
                    .collect(),
            )
        } else if field.is_list() {
            Field::List(value.as_array().unwrap().iter().map(|item| field_value(&field, item)).collect())
        } else {
            field_value(&field, value)
        };
        built.set_field(&field, value);
    }
    built
}

fn field_value(field: &FieldDescriptor, value: &Value) -> Field {
    let number =
        || value.as_str().map_or_else(|| value.as_i64().unwrap() as i128, |text| text.parse().unwrap());
    match field.kind() {
        Kind::Message(message) => Field::Message(dynamic(&message, value)),
        Kind::String => Field::String(text(value)),
        Kind::Bytes => Field::Bytes(octets(value).into()),
        Kind::Bool => Field::Bool(value.as_bool().unwrap()),
        Kind::Uint64 => Field::U64(number() as u64),
        Kind::Int64 => Field::I64(number() as i64),
        Kind::Uint32 => Field::U32(number() as u32),
        Kind::Int32 => Field::I32(number() as i32),
        Kind::Enum(kind) => {
            Field::EnumNumber(kind.get_value_by_name(value.as_str().unwrap()).unwrap().number())
        }
        other => panic!("no request has a field of kind {other:?}"),
    }
}

/// Returns a text, which may be written as `{"repeat": …, "times": …}`.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::Object(repeated) => {
            repeated["repeat"].as_str().unwrap().repeat(repeated["times"].as_u64().unwrap() as usize)
        }
        other => other.as_str().unwrap().to_owned(),
    }
}

fn octets(value: &Value) -> Vec<u8> {
    let text = text(value);
    match text.strip_prefix("base64:") {
        Some(encoded) => STANDARD.decode(encoded).unwrap(),
        None => text.into_bytes(),
    }
}

fn decode(descriptor: &MessageDescriptor, bytes: &[u8]) -> Value {
    let message = DynamicMessage::decode(descriptor.clone(), bytes).unwrap();
    as_json(&Field::Message(message))
}

fn as_json(field: &Field) -> Value {
    match field {
        Field::Message(message) => Value::Object(
            message.fields().map(|(field, value)| (field.name().to_owned(), as_json(value))).collect(),
        ),
        Field::Map(entries) => Value::Object(
            entries
                .iter()
                .map(|(key, value)| (key.as_str().unwrap().to_owned(), as_json(value)))
                .collect::<Map<_, _>>(),
        ),
        Field::List(items) => Value::Array(items.iter().map(as_json).collect()),
        Field::String(text) => json!(text),
        Field::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => json!(text),
            _ => json!(format!("base64:{}", STANDARD.encode(bytes))),
        },
        Field::Bool(value) => json!(value),
        Field::I64(value) => json!(value.to_string()),
        Field::U64(value) => json!(value.to_string()),
        Field::I32(value) | Field::EnumNumber(value) => json!(value),
        Field::U32(value) => json!(value),
        other => panic!("no answer has a field such as {other:?}"),
    }
}

#[derive(Clone, Copy)]
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(message);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
