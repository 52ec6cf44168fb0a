//! The JSON Schema of the file, for `tillgate schema` and for `shape`.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use serde_json::Value;

use super::schema::FileSchema;

/// The JSON Schema of the file.
pub(super) fn schema() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.transforms.insert(0, Box::new(RecursiveTransform(drop_null)));
    settings.into_generator().into_root_schema_for::<FileSchema>().to_value()
}

/// TOML has no null: an optional key is absent.
fn drop_null(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = object.get("anyOf")
        && let [Value::Object(only), Value::Object(null)] = choices.as_slice()
        && null.get("type").is_some_and(|name| name == "null")
    {
        let only = only.clone();
        object.remove("anyOf");
        object.extend(only);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_may_be_null_and_every_table_is_closed() {
        let schema = schema();
        assert!(!schema.to_string().contains("null"));
        let tables = schema.get("$defs").and_then(Value::as_object).unwrap().values();
        for table in tables.chain([&schema]).filter(|table| table.get("properties").is_some()) {
            assert_eq!(table.get("additionalProperties"), Some(&Value::Bool(false)), "{table}");
        }
    }
}
