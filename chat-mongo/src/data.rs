//! The `data` of a message as it is kept: as a document, which people can read and query, where that gives back exactly
//! what was sent; else as JSON text.

use mongodb::bson::{Bson, Document};
use roomcast_core::{JsonObject, StoreError};
use serde_json::{Number, Value};

use crate::error::{damaged, refused};

/// The server takes documents of 100 levels; the entry and its `data` are two of them.
const DEPTH: usize = 90;

pub(crate) fn to_bson(data: &JsonObject) -> Result<Bson, StoreError> {
    match object_to_bson(data, DEPTH) {
        Some(document) => Ok(Bson::Document(document)),
        None => serde_json::to_string(data)
            .map(Bson::String)
            .map_err(|error| refused(format!("the data can't be written as JSON: {error}"))),
    }
}

pub(crate) fn from_bson(data: Bson) -> Result<JsonObject, StoreError> {
    match data {
        Bson::Document(document) => object_from_bson(document),
        Bson::String(text) => serde_json::from_str(&text).map_err(|error| damaged(format!("data is no JSON: {error}"))),
        other => Err(damaged(format!("data is {:?}", other.element_type()))),
    }
}

/// `None` if BSON has no such value, or MongoDB gives a meaning to it.
fn object_to_bson(object: &JsonObject, depth: usize) -> Option<Document> {
    let depth = depth.checked_sub(1)?;
    let mut document = Document::new();
    for (key, value) in object {
        if key.is_empty() || key.starts_with('$') || key.contains(['.', '\0']) {
            return None;
        }
        document.insert(key.clone(), value_to_bson(value, depth)?);
    }
    Some(document)
}

fn value_to_bson(value: &Value, depth: usize) -> Option<Bson> {
    Some(match value {
        Value::Null => Bson::Null,
        Value::Bool(value) => Bson::Boolean(*value),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Bson::Int64(whole),
            // Above `i64::MAX`, as a float it would come back changed.
            None if number.is_u64() => return None,
            None => Bson::Double(number.as_f64()?),
        },
        Value::String(text) => Bson::String(text.clone()),
        Value::Array(values) => {
            let depth = depth.checked_sub(1)?;
            let values = values.iter().map(|value| value_to_bson(value, depth));
            Bson::Array(values.collect::<Option<_>>()?)
        }
        Value::Object(object) => Bson::Document(object_to_bson(object, depth)?),
    })
}

fn object_from_bson(document: Document) -> Result<JsonObject, StoreError> {
    let values = document.into_iter();
    values.map(|(key, value)| Ok((key, value_from_bson(value)?))).collect()
}

fn value_from_bson(value: Bson) -> Result<Value, StoreError> {
    Ok(match value {
        Bson::Null => Value::Null,
        Bson::Boolean(value) => Value::Bool(value),
        Bson::Int32(whole) => whole.into(),
        Bson::Int64(whole) => whole.into(),
        Bson::Double(number) => {
            Value::Number(Number::from_f64(number).ok_or_else(|| damaged("data holds a number that JSON has not"))?)
        }
        Bson::String(text) => Value::String(text),
        Bson::Array(values) => Value::Array(values.into_iter().map(value_from_bson).collect::<Result<_, _>>()?),
        Bson::Document(document) => Value::Object(object_from_bson(document)?),
        other => return Err(damaged(format!("data holds a {:?}", other.element_type()))),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> JsonObject {
        match value {
            Value::Object(object) => object,
            other => panic!("{other} is no object"),
        }
    }

    #[test]
    fn what_bson_can_hold_is_a_document() {
        let data = object(json!({
            "b": [1, -1, 2.5, 1.0, -0.0, i64::MAX, i64::MIN, null, true, "x\0y", {}, []],
            "a": {"nested": {"deep": "yes"}},
        }));
        let kept = to_bson(&data).unwrap();
        assert!(matches!(kept, Bson::Document(_)));
        assert_eq!(from_bson(kept).unwrap(), data);
    }

    #[test]
    fn what_bson_cannot_hold_is_text() {
        let mut deep = json!(1);
        for _ in 0..100 {
            deep = json!([deep]);
        }
        for value in [
            json!({"": 1}),
            json!({"$set": 1}),
            json!({"a.b": 1}),
            json!({"a\0b": 1}),
            json!({"a": [{"$x": 1}]}),
            json!({"a": u64::MAX}),
            // A float that serde_json reads one bit away, unless it is told to take its time.
            json!({"a.b": 31.245270191439438}),
            json!({"a": deep}),
        ] {
            let data = object(value);
            let kept = to_bson(&data).unwrap();
            assert!(matches!(kept, Bson::String(_)), "{data:?}");
            assert_eq!(from_bson(kept).unwrap(), data);
        }
    }

    #[test]
    fn what_is_no_data_is_damage() {
        for wrong in [
            Bson::Null,
            Bson::Int32(1),
            Bson::String("[".into()),
            Bson::String("[]".into()),
            Bson::Document(mongodb::bson::doc! {"a": f64::NAN}),
            Bson::Document(mongodb::bson::doc! {"a": mongodb::bson::oid::ObjectId::new()}),
        ] {
            assert!(from_bson(wrong.clone()).is_err(), "{wrong:?}");
        }
    }
}
