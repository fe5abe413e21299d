//! Compiles `proto/dashstream.proto` twice over from one descriptor: into Rust types, and into the
//! table of fields that the codec's scan and its JSON view walk (`codec::schema`). One source, so
//! the scan cannot disagree with the types about what a field is.

use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto/dashstream.proto");
    let descriptors = protox::compile(["dashstream.proto"], ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let file = descriptors.file.first().ok_or("protox returned no file")?;
    std::fs::write(out.join("schema.rs"), schema(file)?)?;
    // BTreeMap for every map: hash order would make two encodings of one message differ.
    prost_build::Config::new().btree_map(["."]).compile_fds(descriptors)?;
    Ok(())
}

/// Every message with its full name, nested ones (map entries) after their parent.
fn messages(file: &FileDescriptorProto) -> Vec<(String, &DescriptorProto)> {
    let mut all = Vec::new();
    for message in &file.message_type {
        let name = format!(".{}.{}", file.package(), message.name());
        all.extend(message.nested_type.iter().map(|n| (format!("{name}.{}", n.name()), n)));
        all.push((name, message));
    }
    let root = format!(".{}.DashStreamMessage", file.package());
    all.sort_by_key(|(name, _)| *name != root);
    all
}

fn schema(file: &FileDescriptorProto) -> Result<String, Box<dyn Error>> {
    let all = messages(file);
    let mut text = String::from("pub(crate) const MESSAGES: &[Message] = &[\n");
    for (name, message) in &all {
        let short = name.rsplit('.').next().unwrap_or(name);
        writeln!(text, "// {short}\nMessage {{ fields: &[")?;
        let last = message.field.iter().map(FieldDescriptorProto::number).max().unwrap_or(0);
        for number in 0..=last {
            match message.field.iter().find(|f| f.number() == number) {
                Some(field) => writeln!(text, "{},", describe(file, &all, short, field)?)?,
                None => writeln!(text, "NO_FIELD,")?,
            }
        }
        writeln!(text, "] }},")?;
    }
    text.push_str("];\npub(crate) const ENUMS: &[&[(i32, &str)]] = &[\n");
    for item in &file.enum_type {
        let prefix = item.value.first().map_or("", |v| v.name());
        let prefix = shared_prefix(prefix, item.name());
        text.push_str("&[");
        for value in &item.value {
            write!(
                text,
                "({}, {:?}), ",
                value.number(),
                value.name().strip_prefix(&prefix).unwrap_or(value.name())
            )?;
        }
        text.push_str("],\n");
    }
    text.push_str("];\n");
    Ok(text)
}

/// `EventType` → `EVENT_TYPE_`, checked against the first value.
fn shared_prefix(first_value: &str, name: &str) -> String {
    let mut prefix = String::new();
    for (i, c) in name.char_indices() {
        if c.is_ascii_uppercase() && i > 0 {
            prefix.push('_');
        }
        prefix.push(c.to_ascii_uppercase());
    }
    prefix.push('_');
    if first_value.starts_with(&prefix) { prefix } else { String::new() }
}

fn describe(
    file: &FileDescriptorProto,
    all: &[(String, &DescriptorProto)],
    parent: &str,
    field: &FieldDescriptorProto,
) -> Result<String, Box<dyn Error>> {
    let name = field.name();
    let repeated = field.label() == Label::Repeated;
    let index = || all.iter().position(|(n, _)| n == field.type_name());
    let (kind, size) = match field.r#type() {
        Type::Int64 => ("Int64".to_owned(), "8".to_owned()),
        Type::Uint64 => ("Uint64".to_owned(), "8".to_owned()),
        Type::Uint32 => ("Uint32".to_owned(), "4".to_owned()),
        Type::Bool => ("Bool".to_owned(), "1".to_owned()),
        Type::Float => ("Float".to_owned(), "4".to_owned()),
        Type::Double => ("Double".to_owned(), "8".to_owned()),
        Type::String => ("Utf8".to_owned(), "size_of::<String>()".to_owned()),
        Type::Bytes => ("Bytes".to_owned(), "size_of::<Vec<u8>>()".to_owned()),
        Type::Enum => {
            let position = file
                .enum_type
                .iter()
                .position(|e| field.type_name().ends_with(&format!(".{}", e.name())));
            (format!("Enum({})", position.ok_or("unknown enum")?), "4".to_owned())
        }
        Type::Message => {
            let at = index().ok_or_else(|| format!("unknown message {}", field.type_name()))?;
            let (_, target) = all.get(at).ok_or("unknown message")?;
            if target.options.as_ref().is_some_and(prost_types::MessageOptions::map_entry) {
                let value =
                    target.field.iter().find(|f| f.number() == 2).ok_or("map without value")?;
                (format!("Map({at})"), format!("size_of::<(String, {})>()", map_value(value)?))
            } else {
                (format!("Message({at})"), format!("size_of::<proto::{}>()", target.name()))
            }
        }
        other => return Err(format!("{name}: {other:?} is not in the table's vocabulary").into()),
    };
    let (counter, cost) = match (kind.starts_with("Map"), repeated) {
        (true, _) => ("Map", format!("map_cost({size})")),
        (false, true) if parent == "EventBatch" => ("Batch", format!("element_cost({size})")),
        (false, true) => ("Repeated", format!("element_cost({size})")),
        (false, false) => ("Single", "0".to_owned()),
    };
    Ok(format!(
        "Field {{ name: {name:?}, kind: Kind::{kind}, counter: Counter::{counter}, cost: {cost} }}"
    ))
}

fn map_value(field: &FieldDescriptorProto) -> Result<String, Box<dyn Error>> {
    Ok(match field.r#type() {
        Type::String => "String".to_owned(),
        Type::Bytes => "Vec<u8>".to_owned(),
        Type::Message => {
            format!("proto::{}", field.type_name().rsplit('.').next().unwrap_or_default())
        }
        other => return Err(format!("{}: {other:?} as a map value", field.name()).into()),
    })
}
