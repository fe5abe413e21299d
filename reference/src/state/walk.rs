//! A walk over any `Serialize`: the JSON it stands for, as events that can say "skip this".
//!
//! Nothing is built on the way. A visitor that does not want a value under a key never pays for
//! serialising it, so walking a second time for one part of a large state is cheap.

use std::io::{Cursor, Write as _};

use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};
use serde_json::ser::{CompactFormatter, Formatter as _};

use super::error::{StateError, StateErrorKind};
use super::keys;

/// Object or array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Map,
    Seq,
}

impl Shape {
    pub(super) const fn open(self) -> u8 {
        match self {
            Self::Map => b'{',
            Self::Seq => b'[',
        }
    }

    pub(super) const fn close(self) -> u8 {
        match self {
            Self::Map => b'}',
            Self::Seq => b']',
        }
    }
}

/// What is told of the walk. Each value is one `number`, one `string`, or `begin` … `end`.
pub(super) trait Visit {
    /// A number, `true`, `false` or `null`, as JSON text.
    fn literal(&mut self, json: &[u8]) -> Result<(), StateError>;
    /// A string, not yet quoted.
    fn string(&mut self, value: &str) -> Result<(), StateError>;
    /// A container starts.
    fn begin(&mut self, shape: Shape) -> Result<(), StateError>;
    /// A key of the innermost map; answers whether its value is wanted. If not, it is not told.
    fn key(&mut self, key: &str) -> Result<bool, StateError>;
    /// The next element of the innermost array; answers whether it is wanted.
    fn element(&mut self) -> Result<bool, StateError>;
    /// The innermost container ends.
    fn end(&mut self) -> Result<(), StateError>;
}

/// Walks a state once, in the order in which its `Serialize` gives it.
///
/// # Errors
/// What the state or the visitor says, with the path to the value.
pub(super) fn walk<S: Serialize + ?Sized, V: Visit>(
    state: &S,
    visit: &mut V,
    max_depth: usize,
) -> Result<(), StateError> {
    let mut context = Context { visit, depth: 0, max_depth, failed: None };
    state.serialize(Walker { context: &mut context })?;
    // A `Serialize` that swallows the error of a part must not pass for whole.
    context.failed.map_or(Ok(()), Err)
}

struct Context<'v, V> {
    visit: &'v mut V,
    depth: usize,
    max_depth: usize,
    failed: Option<StateError>,
}

impl<V: Visit> Context<'_, V> {
    fn begin(&mut self, shape: Shape) -> Result<(), StateError> {
        if self.depth == self.max_depth {
            return Err(StateError::new(StateErrorKind::TooDeep { limit: self.max_depth }));
        }
        self.depth += 1;
        self.visit.begin(shape)
    }

    fn end(&mut self) -> Result<(), StateError> {
        self.depth = self.depth.saturating_sub(1);
        self.visit.end()
    }

    fn key(&mut self, key: &str) -> Result<bool, StateError> {
        keys::check_length(key)?;
        self.visit.key(key)
    }
}

struct Walker<'a, 'v, V> {
    context: &'a mut Context<'v, V>,
}

/// A container on its way, or the two of a variant: `{"Variant": [..]}`.
struct Compound<'a, 'v, V> {
    context: &'a mut Context<'v, V>,
    /// The key that was given, or was given last.
    key: String,
    key_given: bool,
    wanted: bool,
    /// Containers to end.
    open: u8,
    index: u64,
    variant: Option<&'static str>,
}

impl<'a, 'v, V: Visit> Walker<'a, 'v, V> {
    fn number(
        self,
        write: impl FnOnce(&mut CompactFormatter, &mut Cursor<[u8; 64]>) -> std::io::Result<()>,
    ) -> Result<(), StateError> {
        let mut out = Cursor::new([0; 64]);
        let written = write(&mut CompactFormatter, &mut out);
        written.map_err(|error| StateError::unserialisable(&error.to_string()))?;
        let len = usize::try_from(out.position()).unwrap_or_default();
        self.context.visit.literal(out.get_ref().get(..len).unwrap_or_default())
    }

    fn compound(self, shape: Shape) -> Result<Compound<'a, 'v, V>, StateError> {
        self.context.begin(shape)?;
        Ok(Compound::new(self.context, true, None))
    }

    fn variant(
        self,
        variant: &'static str,
        shape: Shape,
    ) -> Result<Compound<'a, 'v, V>, StateError> {
        self.context.begin(Shape::Map)?;
        let wanted = self.context.key(variant)?;
        if wanted {
            self.context.begin(shape).map_err(|error| error.under(variant))?;
        }
        Ok(Compound::new(self.context, wanted, Some(variant)))
    }
}

impl<'a, 'v, V: Visit> Compound<'a, 'v, V> {
    fn new(context: &'a mut Context<'v, V>, wanted: bool, variant: Option<&'static str>) -> Self {
        let open = if variant.is_some() && wanted { 2 } else { 1 };
        Self { context, key: String::new(), key_given: false, wanted, open, index: 0, variant }
    }

    fn guard(&self) -> Result<(), StateError> {
        self.context.failed.clone().map_or(Ok(()), Err)
    }

    /// The first error stays: a `Serialize` may swallow it, the walk does not.
    fn fail<T>(&mut self, error: StateError, segment: &str) -> Result<T, StateError> {
        let mut error = error.under(segment);
        if let Some(variant) = self.variant {
            error = error.under(variant);
        }
        self.context.failed = Some(error.clone());
        Err(error)
    }

    fn field<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), StateError> {
        self.guard()?;
        if !self.wanted {
            return Ok(());
        }
        let result = match self.context.key(key) {
            Ok(true) => value.serialize(Walker { context: self.context }),
            other => other.map(|_| ()),
        };
        result.or_else(|error| self.fail(error, key))
    }

    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), StateError> {
        self.guard()?;
        if !self.wanted {
            return Ok(());
        }
        let result = match self.context.visit.element() {
            Ok(true) => value.serialize(Walker { context: self.context }),
            other => other.map(|_| ()),
        };
        self.index += 1;
        result.or_else(|error| self.fail(error, &(self.index - 1).to_string()))
    }

    fn finish(self) -> Result<(), StateError> {
        self.guard()?;
        if self.key_given {
            return Err(StateError::unserialisable("a map key without a value"));
        }
        (0..self.open).try_for_each(|_| self.context.end())
    }
}

macro_rules! numbers {
    ($($name:ident: $type:ty => $write:ident),*) => {$(
        fn $name(self, value: $type) -> Result<(), StateError> {
            self.number(|format, out| format.$write(out, value))
        }
    )*};
}

fn not_a_number(value: f64) -> StateError {
    let what = if value.is_nan() { "NaN" } else { "an infinity" };
    StateError::new(StateErrorKind::NotANumber(what))
}

impl<'a, 'v, V: Visit> Serializer for Walker<'a, 'v, V> {
    type Ok = ();
    type Error = StateError;
    type SerializeSeq = Compound<'a, 'v, V>;
    type SerializeTuple = Compound<'a, 'v, V>;
    type SerializeTupleStruct = Compound<'a, 'v, V>;
    type SerializeTupleVariant = Compound<'a, 'v, V>;
    type SerializeMap = Compound<'a, 'v, V>;
    type SerializeStruct = Compound<'a, 'v, V>;
    type SerializeStructVariant = Compound<'a, 'v, V>;

    numbers! {
        serialize_bool: bool => write_bool,
        serialize_i8: i8 => write_i8, serialize_i16: i16 => write_i16,
        serialize_i32: i32 => write_i32, serialize_i64: i64 => write_i64,
        serialize_u8: u8 => write_u8, serialize_u16: u16 => write_u16,
        serialize_u32: u32 => write_u32, serialize_u64: u64 => write_u64
    }

    fn serialize_i128(self, value: i128) -> Result<(), StateError> {
        match (i64::try_from(value), u64::try_from(value)) {
            (Ok(value), _) => self.serialize_i64(value),
            (_, Ok(value)) => self.serialize_u64(value),
            _ => Err(StateError::unserialisable("an integer of more than 64 bits")),
        }
    }

    fn serialize_u128(self, value: u128) -> Result<(), StateError> {
        let narrow = u64::try_from(value);
        let wide = || StateError::unserialisable("an integer of more than 64 bits");
        self.serialize_u64(narrow.map_err(|_| wide())?)
    }

    fn serialize_f32(self, value: f32) -> Result<(), StateError> {
        if !value.is_finite() {
            return Err(not_a_number(f64::from(value)));
        }
        // The shortest decimal of the f32, written as every reader of it will write it again.
        let mut text = Vec::with_capacity(32);
        let written = CompactFormatter.write_f32(&mut text, value).map_err(|e| e.to_string());
        let decimal = written.and_then(|()| {
            let text = String::from_utf8(text).map_err(|e| e.to_string())?;
            text.parse::<f64>().map_err(|e| e.to_string())
        });
        self.serialize_f64(decimal.map_err(|error| StateError::unserialisable(&error))?)
    }

    fn serialize_f64(self, value: f64) -> Result<(), StateError> {
        if !value.is_finite() {
            return Err(not_a_number(value));
        }
        self.number(|format, out| format.write_f64(out, value))
    }

    fn serialize_char(self, value: char) -> Result<(), StateError> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), StateError> {
        self.context.visit.string(value)
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), StateError> {
        let mut array = self.compound(Shape::Seq)?;
        value.iter().try_for_each(|byte| array.item(byte))?;
        array.finish()
    }

    fn serialize_none(self) -> Result<(), StateError> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), StateError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), StateError> {
        self.number(|_, out| out.write_all(b"null"))
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), StateError> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), StateError> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), StateError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), StateError> {
        let mut map = self.compound(Shape::Map)?;
        map.field(variant, value)?;
        map.finish()
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, StateError> {
        self.compound(Shape::Seq)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, StateError> {
        self.compound(Shape::Seq)
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, StateError> {
        self.compound(Shape::Seq)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, StateError> {
        self.variant(variant, Shape::Seq)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, StateError> {
        self.compound(Shape::Map)
    }

    fn serialize_struct(
        self,
        name: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStruct, StateError> {
        if name.starts_with("$serde_json::private::") {
            let text = "serde_json's raw values and arbitrary-precision numbers are not supported";
            return Err(StateError::unserialisable(text));
        }
        self.compound(Shape::Map)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, StateError> {
        self.variant(variant, Shape::Map)
    }
}

macro_rules! sequences {
    ($($trait:ident::$method:ident),*) => {$(
        impl<V: Visit> $trait for Compound<'_, '_, V> {
            type Ok = ();
            type Error = StateError;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), StateError> {
                self.item(value)
            }

            fn end(self) -> Result<(), StateError> {
                self.finish()
            }
        }
    )*};
}

sequences! {
    SerializeSeq::serialize_element, SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field, SerializeTupleVariant::serialize_field
}

macro_rules! structs {
    ($($trait:ident),*) => {$(
        impl<V: Visit> $trait for Compound<'_, '_, V> {
            type Ok = ();
            type Error = StateError;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), StateError> {
                self.field(key, value)
            }

            fn end(self) -> Result<(), StateError> {
                self.finish()
            }
        }
    )*};
}

structs! { SerializeStruct, SerializeStructVariant }

impl<V: Visit> SerializeMap for Compound<'_, '_, V> {
    type Ok = ();
    type Error = StateError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), StateError> {
        self.guard()?;
        let text = keys::key_text(key, &mut self.key);
        self.key_given = true;
        text.inspect_err(|error| self.context.failed = Some(error.clone()))
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), StateError> {
        if !std::mem::take(&mut self.key_given) {
            return Err(StateError::unserialisable("a map value without a key"));
        }
        let key = std::mem::take(&mut self.key);
        let result = self.field(&key, value);
        self.key = key;
        result
    }

    fn end(self) -> Result<(), StateError> {
        self.finish()
    }
}
